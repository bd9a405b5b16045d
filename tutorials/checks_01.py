"""What the exercises of lesson 01 are checked by."""

from zlib import crc32

import numpy as np
import torch
from exercises import Wrong, begun

from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import prompt, read_caption
from lite_sora.toy.world import COLOURS, CORNERS, SHAPES, Corner, Scene, draw, held_out, random_scene

WORLD = CORNERS["default"]
EXAMPLE = ("triangle", "magenta", "up")  # which the lesson names


def check_1(never_shown) -> None:
    """Such prompts tell a model that puts together what it knows from one that has its clips by heart.
    `[way for way in ("right", "left", "up", "down") if ("circle", "red", way) not in seen]` are the directions in
    which training never shows a red circle: there is none. So try other shapes and colours.
    """
    sentence = begun(never_shown())
    if not isinstance(sentence, str):
        raise Wrong(f'a prompt is a sentence, such as "a red circle moving right", and not {sentence!r}')
    things = read_caption(sentence) or [(None, None, None)]
    if len(things) > 1:
        raise Wrong(f"it speaks of {len(things)} things, and every training clip shows one")
    facts = dict(zip(("shape", "colour", "motion"), things[0], strict=True))
    if missing := [name for name, fact in facts.items() if fact is None]:
        raise Wrong(f"{sentence!r} names no {' and no '.join(missing)} that the toy world has")
    if facts["motion"] not in WORLD.motions:
        raise Wrong(f'no training clip moves "{facts["motion"]}": that cannot be put together from what was shown')
    if not held_out(*things[0]):
        raise Wrong(f'training shows "{prompt(*things[0])}": it is not one of the held-out combinations')
    if things == [EXAMPLE]:
        raise Wrong("that is the one of the text: find another")


def check_2(said_and_seen) -> None:
    """This is adherence, the measure of nearly every table in this course.
    `judge(frames)` is a list of things, each with its `.triple`. A sentence and a video are sets of triples: when are
    the two sets the same? `np.mean` of a list of True and False is a share.
    """
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng, WORLD) for _ in range(32)]
    shown = [scene.things[0].triple for scene in scenes]
    asked = [_changed(triple, 0) for triple in shown[:1]]  # 8 of 32 sentences say something else
    asked += [_changed(triple, 1) for triple in shown[1:4]] + [_changed(triple, 2) for triple in shown[4:8]]
    asked += shown[8:]
    videos = np.stack([draw(scene, 8, 32) for scene in scenes])
    found = float(begun(said_and_seen([prompt(*triple) for triple in asked], videos)))
    if abs(found - 24) < 1e-6 or abs(found - 75) < 1e-6:
        raise Wrong(f"the share is between 0 and 1; {found:g} is the number of right ones, or per cent")
    for place, fact in enumerate(("shape", "colour", "motion")):
        if abs(found - np.mean([a[place] == s[place] for a, s in zip(asked, shown, strict=True)])) < 1e-6:
            raise Wrong(f"it only compares the {fact}")
    if found == 0:
        raise Wrong("it finds none right. Of what the judge sees, each thing has a .triple: compare those")
    if abs(found - 8 / 32) < 1e-6:
        raise Wrong("that is the share of wrong ones")
    if abs(found - 24 / 32) > 1e-6:
        raise Wrong(f"of 32 real clips, 8 have a sentence with one wrong fact: 0.75 is right, and not {found:.3g}")

    pair = draw(_of_two_things(rng))
    larger, smaller = (prompt(*thing.triple) for thing in judge(pair))
    for sentence, video, expected, mistake in (
        (larger, pair, 0, "there is a second thing in the video, which the sentence does not speak of"),
        (f"{larger} and {smaller}", pair, 1, "a sentence may speak of two things, and both are in the video"),
        (
            f"{smaller} and {larger}",
            pair,
            1,
            "the judge names the largest thing first, a sentence may not: compare sets",
        ),
        (larger, np.zeros_like(pair), 0, "a black video shows nothing of what was said"),
    ):
        try:
            found = float(said_and_seen([sentence], video[None]))
        except IndexError:
            raise Wrong("where nothing is to be seen, judge(frames) is an empty list: it has no [0]") from None
        if abs(found - expected) > 1e-6:
            raise Wrong(mistake)


def _changed(triple: tuple[str, str, str], place: int) -> tuple[str, ...]:
    """A triple with another fact at `place`."""
    words = (SHAPES, tuple(COLOURS), WORLD.motions)[place]
    other = words[(words.index(triple[place]) + 1) % len(words)]
    return (*triple[:place], other, *triple[place + 1 :])


def _of_two_things(rng: np.random.Generator) -> Scene:
    while True:
        scene = random_scene(rng, Corner(sizes=("medium",), most_things=2))
        if len(scene.things) == 2:
            return scene


SHAPE = (3, 2, 4, 4)
FAULTS = {  # what is wrong with a generator → what a test that does not see it should do
    "one seed": "it draws the noise of all videos from the first seed, so that the first is always right: put yours "
    "second in a batch",
    "padding": "it pads all prompts to the longest, and reads the padding: put a longer prompt beside yours",
    "normalised": "it subtracts the mean over the batch: compare a video made alone with the same one in a batch",
}


def check_3(keeps_to_itself) -> None:
    """So a video can be made again, on another machine and in a batch of another size: with its prompt and seed.
    Make one video alone, and again as the second of two, beside a longer prompt with another seed. How much do they
    differ? A larger batch is added up in another order, so that differences of 1e-5 mean nothing.
    """
    private = bool(begun(keeps_to_itself(_generator(None))))
    missed = [fault for fault in FAULTS if keeps_to_itself(_generator(fault))]
    if not private and len(missed) == len(FAULTS):
        raise Wrong("it is the other way round: True is for a generator that keeps a video to itself")
    if not private:
        raise Wrong(
            "it refuses a good one. The same video differs by about 1e-6 in a larger batch, since sums are rounded: "
            "torch.allclose(one, other, atol=1e-4) allows for that. And a video depends on its own prompt and seed"
        )
    if missed:
        raise Wrong(f"it does not see this fault: {FAULTS[missed[0]]}")


def _generator(fault: str | None):
    """A stand-in for a model: videos that depend on prompt and seed, and on what a fault adds."""

    def noise_of(seed: int) -> torch.Tensor:
        return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))

    def generate(prompts, seeds):
        first = torch.Generator().manual_seed(seeds[0])
        noise = [torch.randn(SHAPE, generator=first) if fault == "one seed" else noise_of(seed) for seed in seeds]
        videos = torch.stack(noise) + torch.stack([noise_of(crc32(text.encode())) for text in prompts])
        if fault == "padding":
            videos = videos + max(len(text.split()) for text in prompts) / 20
        if fault == "normalised":
            videos = videos - videos.mean(0)
        return videos.tanh() + 1e-6 * len(prompts)  # what rounding does in a real model

    return generate
