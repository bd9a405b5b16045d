import av
import numpy as np
import pytest
from PIL import Image

from lite_sora.curation.splitting import _hsv, content_scores, cuts, detect
from lite_sora.data.video import ClipError, stream_frames, write_video

FPS = 24
LENGTHS = [40, 31, 55, 18, 30]  # of the scenes of `film`, in frames
CUTS = [40, 71, 126, 144]


def scene(seed: int, length: int, height: int = 96, width: int = 160, speed: int = 1) -> np.ndarray:
    """A coarse colourful texture that the camera pans over: uint8 (length, height, width, 3)."""
    texture = np.random.default_rng(seed).integers(0, 256, (6, 24, 3), dtype=np.uint8)
    wide = np.array(Image.fromarray(texture).resize((width + speed * length, height), Image.Resampling.BICUBIC))
    return np.stack([wide[:, speed * i : speed * i + width] for i in range(length)])


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A file of five scenes."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, np.concatenate([scene(seed, length) for seed, length in enumerate(LENGTHS)]), FPS)
    return path


def test_score_of_known_colours():
    """Red → green: hue 0 → 60. Red → black: value and saturation 255 → 0. Grey 100 → 130: value only."""
    red, green, black, low, high = ((255, 0, 0), (0, 255, 0), (0, 0, 0), (100,) * 3, (130,) * 3)
    frames = np.array([red, green, red, black, low, high], np.uint8)[:, None, None].repeat(4, 1).repeat(6, 2)
    assert content_scores(frames) == pytest.approx([20, 20, 170, 100 / 3, 10])


def test_identical_frames_score_nothing_and_one_frame_has_no_score():
    frames = scene(0, 1).repeat(4, axis=0)
    assert (content_scores(frames) == 0).all() and content_scores(frames).shape == (3,)
    assert content_scores(frames[:1]).shape == (0,)
    assert cuts(content_scores(frames[:1])) == cuts(content_scores(frames[:1]), "adaptive") == []


def test_cuts_of_scores():
    scores = np.full(99, 5.0)
    scores[[29, 35, 49, 80]] = 40  # new scenes with frames 30, 36, 50 and 81
    assert cuts(scores) == [30, 50, 81]  # 36 comes too soon
    assert cuts(scores, min_frames=1) == [30, 36, 50, 81]
    assert cuts(scores, min_frames=40) == [50]  # 30 and 36 come too soon after the first frame
    assert cuts(scores, threshold=40.1) == []
    with pytest.raises(ValueError, match="content or adaptive"):
        cuts(scores, "hash")


def test_adaptive_ignores_a_fast_pan_that_content_takes_for_cuts():
    scores = np.full(99, 4.0)
    scores[40:70] = 35  # a pan
    scores[20] = 20  # a cut between two similar pictures
    assert cuts(scores, "adaptive") == [21]
    assert cuts(scores) == [41, 56]
    scores[20] = 14
    assert cuts(scores, "adaptive") == []  # five times its neighbours, but below 15


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_planted_cuts_are_found(detector, film):
    assert [time * FPS for time in detect(film, detector=detector)] == pytest.approx(CUTS)


def test_only_the_asked_stretch_counts(film):
    assert [time * FPS for time in detect(film, 50 / FPS, 140 / FPS)] == pytest.approx([71, 126])
    assert [time * FPS for time in detect(film, 71 / FPS, 126 / FPS)] == []  # exactly one scene
    assert [time * FPS for time in detect(film, 60 / FPS)] == pytest.approx([126, 144])  # 71 is too close to the start
    with pytest.raises(ClipError, match="no such file"):
        detect(film.with_name("missing.mp4"))


@pytest.mark.parametrize("start, end", [(None, None), (0.5, 2.0), (3.0, 4.0), (6.5, None), (9.0, None)])
@pytest.mark.parametrize("name", ["mp4", "ts", "avi"])
def test_each_frame_is_streamed_once(name, start, end, film, tmp_path):
    path = tmp_path / f"film.{name}"
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        if name == "avi":
            stream = target.add_stream("mpeg4", rate=FPS, width=160, height=96)
            packets = (packet for frame in source.decode(video=0) for packet in stream.encode(frame.reformat()))
        else:
            stream = target.add_stream_from_template(source.streams.video[0])
            packets = (packet for packet in source.demux(video=0) if packet.dts is not None)
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
        if name == "avi":
            target.mux(stream.encode())
    numbers = [round(time * FPS) for time, _ in stream_frames(path, 24, 40, start, end)]
    first, last = round((start or 0) * FPS), min(sum(LENGTHS), round((end or 99) * FPS))
    assert numbers == list(range(first, last))


# ---------------------------------------------------------------- against PySceneDetect


def test_hsv_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    frame[:8] = frame[:8] // 40 * 40  # also greys and equal channels
    expected = np.moveaxis(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(float), -1, 0)
    hue, saturation, value = np.abs(_hsv(frame) - expected)
    assert np.minimum(hue, 180 - hue).max() < 1 and saturation.max() < 1 and value.max() == 0


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_cuts_are_pyscenedetects(detector, film):
    scenedetect = pytest.importorskip("scenedetect")
    oracle = scenedetect.ContentDetector() if detector == "content" else scenedetect.AdaptiveDetector()
    expected = [start.frame_num for start, _ in scenedetect.detect(str(film), oracle)][1:]
    assert expected and [round(time * FPS) for time in detect(film, detector=detector)] == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_is_pyscenedetects(seed):
    """On wild scores of full-size frames, where cuts come too soon after one another and neighbours differ."""
    scenedetect = pytest.importorskip("scenedetect")
    from scenedetect.detector import FlashFilter

    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (120, 1, 1, 3)) * (rng.random((120, 1, 1, 1)) < 0.15) + rng.integers(0, 40)
    frames = np.clip(np.cumsum(frames, 0) % 256, 0, 255).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    oracles = {
        "content": scenedetect.ContentDetector(filter_mode=FlashFilter.Mode.SUPPRESS),
        "adaptive": scenedetect.AdaptiveDetector(),
    }
    for name, oracle in oracles.items():
        expected = [
            cut.frame_num
            for index, frame in enumerate(frames)
            for cut in oracle.process_frame(scenedetect.FrameTimecode(index, 24.0), frame[..., ::-1].copy())
        ]
        assert expected == cuts(content_scores(frames), name)
