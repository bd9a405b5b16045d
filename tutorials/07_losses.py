# %% [markdown]
# # 07 · Every loss is one row
#
# **Noise, velocity, v, the clean video: are these different methods?**
#
# One paper trains its network to predict the noise, the next one a velocity, a third the clean video. This lesson shows
# that all of them ask for the same two unknowns, in different mixtures; and that the mixture still decides whether a
# small model can learn at all. That can be computed in seconds, before any training; and then training agrees.
#
# It opens `lite_sora/diffusion/path.py`, `prediction.py`, `objective.py` and `weighting.py`. At the end you will have
# computed a model's failure before the model exists, and drawn it beside the failure itself.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from exercises import claim, exercise, hint, show_source, solution  # noqa: F401  hint and solution are for you
from folders import own_folder
from pictures import show
from PIL import Image

from lite_sora.data.loading import to_frames, to_model_range
from lite_sora.data.preview import sheet
from lite_sora.diffusion import prediction
from lite_sora.diffusion.objective import Objective
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.presets import PRESETS
from lite_sora.diffusion.weighting import effective_weighting, plot
from lite_sora.evaluation.x0_error import LOG_SNRS, x0_error
from lite_sora.layers.patches import patchify, unpatchify
from lite_sora.pipeline import TextToVideo
from lite_sora.toy.world import CORNERS, draw, random_scene
from lite_sora.training.denoiser import train
from lite_sora.training.parts import DenoiserSettings

Path("out/lessons").mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
scenes = [random_scene(np.random.default_rng([7, index]), CORNERS["default"]) for index in range(512)]
clips = torch.from_numpy(np.stack([draw(scene, frames=8, side=32) for scene in scenes])).movedim(-1, 1)
x = to_model_range(clips)  # (512, 3, 8, 32, 32) in [-1, 1]
noise = torch.randn_like(x)
print(tuple(x.shape))

# %% [markdown]
# ## Look first
#
# A *path* mixes a clip with noise: x_t = alpha(t) x + sigma(t) noise. A clip's numbers go from -1 to 1; those of the
# noise are normal, with mean 0 and standard deviation 1. Here t = 0 is the clip and t = 1 is noise alone (many papers
# count the other way). On the *linear* path alpha = 1 - t and sigma = t. DDPM
# ([2006.11239](https://arxiv.org/abs/2006.11239)) adds noise in many small steps, but together they are one such
# mixture, whose alpha it writes as √ᾱ, and sigma as √(1 - ᾱ). Here is one clip at five times.

# %%
path = PATHS["linear"]
times = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
steps = path.mix(x[:1].expand(5, -1, -1, -1, -1), noise[:1].expand(5, -1, -1, -1, -1), times)
show(sheet(list(to_frames(steps)), [f"t = {t}" for t in times.tolist()]), "07-path")

# %% [markdown]
# How much of x_t is clip is best said by the *log-SNR*, log(alpha² / sigma²): the logarithm of the signal-to-noise
# ratio. It is 0 where both weigh the same, 4 where there is hardly any noise, and -6 where there is nearly nothing
# else.
#
# ## Open the box
#
# Training is short to tell: draw a clip, a t and noise; mix them; ask the network; and lower the squared error of its
# answer. Here is all of it. The last line is the loss of a whole clip, and `weight(t)` is how much this t counts.

# %%
show_source(Objective.loss)

# %% [markdown]
# So the network sees x_t and t, which tells it how much of x_t is noise. (It sees the caption too, which plays no part
# here.) It answers with one tensor y. What should y be? In this package, y = a x + b noise, and the pair (a, b) is all
# that a *prediction* is. Together with x_t that makes two equations:
#
#     [x_t]   [alpha sigma] [x    ]
#     [ y ] = [  a     b  ] [noise]
#
# Two equations with two unknowns can be solved. These are the package's own lines:

# %%
show_source(prediction.solve)

# %% [markdown]
# Predicting the noise is the row (0, 1). Predicting the clean video is (1, 0). The *velocity* of rectified flow is the
# slope of the path, noise - x: the row (-1, 1). The others are in the table `ROWS`; the *score*, for example, is the
# noise divided by -sigma. If a network answered perfectly, all of them would give the same clean video:

# %%
t = torch.full((8,), 0.4)
x_t = path.mix(x[:8], noise[:8], t)
worst = 0.0
for name in prediction.ROWS:
    y = prediction.target(path, name, x[:8], noise[:8], t)
    clean, _ = prediction.solve(path, name, x_t, y, t)
    worst = max(worst, float((clean - x[:8]).abs().max()))
claim(worst < 1e-4, "all six predictions are the same answer in other words", largest_difference=worst)

# %% [markdown]
# But no network can answer perfectly. Many clips, each with a noise of its own, mix to the same x_t. Of all answers,
# the *average* of what y could be has the smallest squared error. So the loss falls, but never to zero, and the best
# that a network can say is an average. Is that the same in all six, too? Here eight clips mix to one x_t.

# %%
noises = (x_t[:1] - 0.6 * x[:8]) / 0.4  # so that alpha x + sigma noise is the first x_t for each of the eight
worst = 0.0
for name in prediction.ROWS:
    y = prediction.target(path, name, x[:8], noises, t).mean(0, keepdim=True)
    clean, _ = prediction.solve(path, name, x_t[:1], y, t[:1])
    worst = max(worst, float((clean - x[:8].mean(0)).abs().max()))
claim(worst < 1e-4, "an average answer tells the average clip, in all six", largest_difference=worst)

# %% [markdown]
# ## Exercise 7.1
#
# A sampler must know the clean video and the noise. Write what it does with a velocity. `x_t` and `velocity` are
# (B, ...) and `t` is (B,). (`hint("7.1")` and `solution("7.1")` are there if you want them.)


# %%
@exercise("7.1")
def estimate(x_t, velocity, t): ...


# %% [markdown]
# ## Predict
#
# So are all losses the same? The toy model cuts a clip into patches of 2 × 8 × 8 pixels of 3 colours: 384 numbers.
# Inside the network, a patch is a *token*: a vector of 128 numbers, its channels. The last layer makes 384 numbers of a
# token again. A linear layer from 128 channels reaches only a 128-dimensional part of the 384-dimensional space of
# patches.
#
# A clip's patches are far from random: most are black, or a piece of an edge. Noise fills all directions alike. Which
# share of the noise's energy (the sum of its squares) is lost in 128 channels? Write down your guess.

# %%
guess = 0.5  # your guess, from 0 to 1

# %% [markdown]
# ## Measure
#
# The best 128 directions for given patches are those of the largest variance (*principal components*). No linear layer
# can do better than these. Half of the clips choose them; the other half, which is new to them, is measured.


# %%
def lost(videos: torch.Tensor, channels: int = 128) -> tuple[torch.Tensor, float]:
    """New videos (B / 2, 3, T, H, W) through the best directions of the others, and the share of energy lost."""
    known, new = (patchify(half, (2, 8, 8)) for half in videos.chunk(2))  # (B / 2, N, 384) each
    flat = known.flatten(0, 1)
    mean = flat.mean(0)
    _, directions = torch.linalg.eigh((flat - mean).T @ (flat - mean))  # rising variance
    best = directions[:, -channels:]
    kept = (new - mean) @ best @ best.T + mean
    share = float((kept - new).square().sum() / (new - mean).square().sum())
    return unpatchify(kept, (2, 8, 8), videos.shape[2:]), share


_, of_noise = lost(noise)
_, of_clips = lost(x)
print(f"your guess: {guess:.0%}; lost of noise: {of_noise:.1%}; lost of clips: {of_clips:.1%}")
claim(abs(of_noise - (1 - 128 / 384)) < 0.03, "of noise, 1 - 128/384 is lost", lost=of_noise)
claim(of_clips < 0.02, "of clips, next to nothing is lost", lost=of_clips)

# %% [markdown]
# Here is what follows. A network that predicts the noise has to send noise through its last layer, and cannot. One that
# predicts the clean video sends only a clip through. The velocity and v are mixtures. `solve` then divides by the
# determinant of the two equations, which makes the loss of noise count more where alpha is small. The *floor* of a
# prediction is the squared error of the clean video that remains however long it is trained. JiT argues in this way
# (Back to Basics, [2511.13720](https://arxiv.org/abs/2511.13720)).
#
# ## Exercise 7.2
#
# Compute the floor from the row alone, on the linear path, for patches of `values` numbers that pass `channels`. Take
# it that the clip passes whole, and that of the noise the share of the claim above is lost. (alpha, sigma and their
# slopes at a log-SNR: `path.coefficients(path.time_at(torch.tensor([log_snr])))`; the row: `prediction.ROWS[name](...)`
# of these four.)


# %%
@exercise("7.2")
def floor(name, log_snr, values, channels): ...


# %% [markdown]
# ## The failure before training
#
# Now the picture. At log-SNR 0, take the perfect answer of each prediction, send it through the best 128 directions,
# and solve for the clean video. No training could make these better.

# %%
level = path.time_at(torch.tensor([0.0])).expand(len(x))
x_t = path.mix(x, noise, level)
new = slice(len(x) // 2, None)  # what `lost` measures
rows, labels, errors = [to_frames(x[new][:1])[0], to_frames(x_t[new][:1])[0]], ["the clip", "x_t: what it sees"], {}
for name in ("noise", "velocity", "v", "edm", "x0"):
    passed, _ = lost(prediction.target(path, name, x, noise, level))
    clean, _ = prediction.solve(path, name, x_t[new], passed, level[new])
    errors[name] = float((clean - x[new]).square().mean())
    rows.append(to_frames(clean[:1])[0])
    labels.append(f"{name}: error {errors[name]:.3f}")
show(sheet(rows, labels), "07-failure")
claim(errors["noise"] > 3 * errors["velocity"], "noise is worse than velocity", **errors)
claim(errors["velocity"] > 5 * errors["x0"], "velocity is worse than the clean video", **errors)

# %% [markdown]
# So the predictions are one method where the network is wide enough, and very different ones where it is not. Latents
# of an autoencoder are small, which is why papers that work in latents can choose freely.
#
# ## Exercise 7.3
#
# Which patch (frames, height, width) of a clip of 8 × 32 × 32 lets even noise through 128 channels, at the lowest
# number of tokens?


# %%
@exercise("7.3")
def patch(): ...


# %% [markdown]
# ## The other half of a loss
#
# What is left of an objective, once the prediction can come out? Only how much each noise level counts: the weight that
# the loss gives, times how often t is drawn there. The prediction itself gives a weight, too: the squared error of the
# noise is alpha² / sigma² times that of the clip, so that predicting noise stresses times of little noise. All of it is
# one curve over log-SNR (Kingma & Gao, [2303.00848](https://arxiv.org/abs/2303.00848)). Here are the named objectives
# of this package: on the left as a weight of the clip's error, on the right of the noise's. `toy` is the default, `jit`
# is JiT's, and `sd3` that of Stable Diffusion 3 ([2403.03206](https://arxiv.org/abs/2403.03206)).

# %%
plot("out/lessons/07-weightings.png")
show(Image.open("out/lessons/07-weightings.png"), "07-weightings")
peaks = {}
for name in ("toy", "jit", "sd3"):
    log_snr, weight = effective_weighting(PRESETS[name])
    peaks[name] = float(log_snr[weight[log_snr < 5].argmax()])  # beyond, clamped times pile up
claim(peaks["toy"] < peaks["jit"] - 1, "toy looks at more noise than jit", **peaks)
claim(peaks["jit"] < peaks["sd3"] - 2, "jit looks at more noise than sd3", **peaks)

# %% [markdown]
# Much noise is where the large things are decided: where a shape is, and where it moves. The default run of this
# project needs both: a prediction that can come out, and a weight on much noise.
#
# ## Does the failure come true?
#
# A computed failure should be held against a real one. Three small models now learn for a moment, with the same clips,
# noise and times; they differ in what they predict, and in nothing else. Then all are asked for the clean video at six
# noise levels, on clips that training has not seen. Will they end above the errors that were computed, or below?

# %%
guess = "above"  # or "below"
folder, found = own_folder("07"), {}
for name in ("noise", "velocity", "x0"):
    settings = DenoiserSettings(prediction=name, steps=60, batch_size=16, sample_every=0, adherence_clips=0)
    settings.out = str(folder / name)
    model = TextToVideo.from_pretrained(train(settings))
    found[name] = x0_error(model, Path("data/toy/manifest.jsonl"), clips=64)

# %%
middle = LOG_SNRS.index(0.0)
learnt = {name: values[middle] for name, values in found.items()}
print(f"your guess: {guess}; computed {errors['noise']:.3f}, {errors['velocity']:.3f}, {errors['x0']:.3f}")
for name, value in learnt.items():
    claim(value > 0.95 * errors[name], f"{name}: no model ends below what was computed", learnt=value)
claim(learnt["noise"] > 2 * learnt["velocity"], "the order came true: noise is the worst", **learnt)
claim(learnt["velocity"] > 2 * learnt["x0"], "and velocity worse than the clean video", **learnt)

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
for name, values in found.items():
    (line,) = axes.plot(LOG_SNRS, values, marker="o", label=f"predicts {name}")
    axes.plot(0, errors[name], marker="x", markersize=12, color=line.get_color())
axes.set(yscale="log", xlabel="log-SNR: noise on the left, clip on the right", ylabel="error of the clean video")
axes.legend(title="crosses: computed before")
show(figure, "07-came-true")

# %% [markdown]
# The noise model seems to do well on the right, where there is hardly any noise to remove, and cannot do anything on
# the left. A sampler begins on the left.
#
# ## What is still missing
#
# A minute of training shows an order, not a winner: what a wide enough network learns with each objective takes longer,
# and [measured.md](measured.md) has it. Nor does the floor say how good a model becomes above it. Next: with the clean
# video and the noise in hand, how does one walk from noise to a video, and why not in one step?
