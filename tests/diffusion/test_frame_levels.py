"""A noise level for each frame: what training draws, what counts in the loss, and frames that samplers hold."""

import pytest
import torch

from lite_sora.diffusion.choices import SAMPLERS
from lite_sora.diffusion.frames import (
    Given,
    by_frame,
    delays,
    draw_levels,
    holding,
    known_frames,
    mean_of_unknown,
    rolling,
)
from lite_sora.diffusion.objective import time_grid
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import ROWS, solve, target
from lite_sora.diffusion.presets import PRESETS

SHAPE = (3, 2, 6, 4, 4)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", PATHS.values(), ids=lambda path: path.name)
@pytest.mark.parametrize("prediction", ROWS)
def test_every_frame_is_mixed_and_solved_at_its_own_level(path, prediction):
    x, noise, t = random(*SHAPE), random(*SHAPE, seed=1), torch.rand(3, 6) * 0.8 + 0.1
    x_t, y = path.mix(x, noise, t), target(path, prediction, x, noise, t)
    for frame in range(6):
        assert torch.allclose(x_t[:, :, frame], path.mix(x[:, :, frame], noise[:, :, frame], t[:, frame]))
    clean, found = solve(path, prediction, x_t, y, t)
    assert torch.allclose(clean, x, atol=2e-3) and torch.allclose(found, noise, atol=2e-3)


@pytest.mark.parametrize("objective", PRESETS.values(), ids=PRESETS)
def test_at_equal_levels_the_loss_is_that_of_one_level(objective):
    x, noise, t = random(*SHAPE), random(*SHAPE, seed=1), torch.tensor([0.2, 0.5, 0.9])
    one = objective.loss(lambda x_t, t: 0.3 * x_t, x, noise, t)
    assert torch.allclose(objective.loss(lambda x_t, t: 0.3 * x_t, x, noise, t[:, None].repeat(1, 6)), one, rtol=1e-4)


def test_known_frames_count_nothing():
    errors, t = torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]]), torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]])
    assert mean_of_unknown(errors, t).tolist() == [4.0, 0.0]
    x, noise = random(*SHAPE), random(*SHAPE, seed=1)
    levels = torch.full((3, 6), 0.5)
    levels[:, :2] = 0
    output = torch.zeros(SHAPE, requires_grad=True)
    PRESETS["toy"].loss(lambda x_t, t: output, x, noise, levels).sum().backward()
    assert not output.grad[:, :, :2].any() and output.grad[:, :, 2:].all()


def test_levels_are_drawn_from_each_clips_own_seed():
    objective, t, seeds = PRESETS["toy"], torch.rand(200), list(range(200))
    assert draw_levels(t, seeds, 8, 0.0, objective) is t
    levels = draw_levels(t, seeds, 8, 0.5, objective)
    assert torch.equal(draw_levels(t[7:9], seeds[7:9], 8, 0.5, objective), levels[7:9])
    assert (levels > 0).any(1).all()
    alike = (levels == t[:, None]).all(1).float().mean()  # half of the clips, and a fifth of a quarter of the others
    assert 0.45 < alike < 0.65
    some = draw_levels(t, seeds, 8, 1.0, objective)
    own = ((some != t[:, None]) & (some > 0)).any(1)
    assert 0.4 < own.float().mean() < 0.6  # half of these have independent levels
    assert (some == 0).any(1).float().mean() == pytest.approx(0.8, abs=0.1)  # four of five patterns know a frame


def test_patterns_leave_a_frame_to_be_made():
    assert known_frames("both ends", 8, 0.5) == [0, 7]
    assert [len(known_frames("prefix", 8, length)) for length in (0.0, 0.5, 0.999)] == [1, 4, 7]
    for pattern in ("none", "first", "last", "both ends", "prefix"):
        for frames in (1, 2, 3):
            assert len(known_frames(pattern, frames, 0.999)) < frames


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_known_frames_come_back_unchanged_from_every_sampler(sampler):
    path, known = PATHS["linear"], random(*SHAPE)
    places = torch.tensor([True, False, False, False, False, True])
    asked = []

    def denoise(x, t):
        asked.append(t)
        return solve(path, "x0", x, x.mean(2, keepdim=True).expand_as(x), t)

    made = SAMPLERS[sampler](
        holding(denoise, known, places), random(*SHAPE, seed=1), time_grid(6), path, lambda: random(*SHAPE, seed=2)
    )
    assert torch.equal(made[:, :, places], known[:, :, places]) and made.isfinite().all()
    assert all((t[:, places] == 0).all() and (t[:, ~places] == t[:1, 1:2]).all() for t in asked)


def test_a_loop_has_no_beginning():
    """A denoiser that repeats frame 0 everywhere would make a still video; turned, each frame is the first in turn."""
    x, t, seen = random(*SHAPE), torch.full((3,), 0.5), []

    def denoise(x, t):
        seen.append(x[0, 0, 0, 0, 0].item())
        return x, 2 * x

    turned = rolling(denoise)
    for _ in range(6):
        x0, noise = turned(x, t)
        assert torch.equal(x0, x) and torch.equal(noise, 2 * x)
    assert sorted(seen) == sorted(x[0, 0, :, 0, 0].tolist())


class Causal:
    def encode(self, video):
        return video[:, :, ::2]


class Pixels:
    def encode(self, video):
        return video


def test_known_frames_become_latents_in_their_places():
    like, frames = torch.zeros(2, 3, 5, 4, 4), random(1, 3, 2, 4, 4)
    known, places = Given(frames, (0, -1)).latents(Pixels(), like)
    assert places.tolist() == [True, False, False, False, True]
    assert torch.equal(known[1, :, 4], frames[0, :, 1]) and not known[:, :, 1:4].any()
    known, places = Given(random(1, 3, 3, 4, 4), (0, 1, 2)).latents(Causal(), like)
    assert places.tolist() == [True, True, False, False, False]
    with pytest.raises(ValueError, match="makes 2 latent frames of 3 frames, so that only the first frames"):
        Given(random(1, 3, 3, 4, 4), (-3, -2, -1)).latents(Causal(), like)
    with pytest.raises(ValueError, match="5 frames are known of a video of 5: there is nothing left to make"):
        Given(random(1, 3, 5, 4, 4), tuple(range(5))).latents(Pixels(), like)


def test_frames_made_together_are_ddims():
    path, x = PATHS["linear"], random(*SHAPE)

    def denoise(x, t):
        return solve(path, "x0", x, x.tanh() / 2, t)

    together = by_frame(denoise, x, time_grid(5), path, delay=delays("together", 6, 5, 2))
    assert torch.allclose(together, SAMPLERS["ddim"](denoise, x, time_grid(5), path), atol=1e-6)


@pytest.mark.parametrize("order, evaluations", [("pyramid", 5 + 2), ("chunks", 3 * 5)])
def test_later_frames_are_noisier_and_all_arrive(order, evaluations):
    path, levels, data = PATHS["linear"], [], random(*SHAPE, seed=3)

    def denoise(x, t):
        assert t.shape == (3, 6)
        levels.append(t[0])
        return solve(path, "x0", x, data, t)

    delay = delays(order, 6, 5, 2)
    made = by_frame(denoise, random(*SHAPE), time_grid(5), path, delay=delay)
    assert torch.allclose(made, data, atol=1e-5) and len(levels) == evaluations
    assert all((t.diff() >= 0).all() and torch.equal(t[::2], t[1::2]) for t in levels)
    levels = torch.stack(levels)
    assert (levels[0] == 1).all() and (levels[-1, :-2] == 0).all()
    at_once = ((levels > 0) & (levels < 1)).sum(1).max()
    assert at_once == (2 if order == "chunks" else 6)


def test_a_frame_that_waits_is_not_touched():
    path, x = PATHS["linear"], random(*SHAPE)
    seen = []

    def denoise(x, t):
        seen.append(x)
        return x * 0, x

    by_frame(denoise, x, time_grid(5), path, delay=delays("chunks", 6, 5, 3))
    assert all(torch.equal(now[:, :, 3:], x[:, :, 3:]) for now in seen[:6])
    assert all(torch.equal(now[:, :, :3], seen[5][:, :, :3]) for now in seen[5:])
