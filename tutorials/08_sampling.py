# %% [markdown]
# # 08 · From noise to video
#
# **Why does one step give a blur and twelve a circle, and what does guidance cost?**
#
# A network looks at a noisy clip and answers with two estimates, as lesson 07 showed: the clean video in it, and the
# noise. A *sampler* walks from noise to a video with nothing else. This lesson walks twice: in a plane, where the best
# answer that any network could give is known, and with the toy model of lesson 01.
#
# It opens `lite_sora/diffusion/samplers.py`, `sde.py`, `grids.py` and `guidance.py`. At the end you will have filmed a
# video on its way out of noise, beside what the model took it for at each step.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from exercises import claim, exercise, show_source
from folders import toy_run
from pictures import film, show

from lite_sora.data.loading import to_frames, to_model_range
from lite_sora.data.preview import sheet
from lite_sora.diffusion import grids, guidance, samplers, sde
from lite_sora.diffusion.path import PATHS, along
from lite_sora.evaluation.adherence.diversity import diversity, facts_right
from lite_sora.pipeline import TextToVideo
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import CORNERS, combinations, draw, random_scene

model, path, corner = TextToVideo.from_pretrained(toy_run()), PATHS["linear"], CORNERS["default"]

# %% [markdown]
# ## Look first
#
# One prompt and one noise; only the number of steps differs.

# %%
asked = "a red circle moving right"
made = [model.generate([asked], seeds=[7], steps=steps, guidance=1) for steps in (1, 2, 4, 12)]
show(sheet(list(to_frames(torch.cat(made))), ["1 step", "2 steps", "4 steps", "12 steps"]), "08-steps")

# %% [markdown]
# ## Predict
#
# One step begins at t = 1, where the input is noise and nothing else, and takes the model's clean video as it is. What
# is the smear that comes out? Choose: "one clip, out of focus", "many clips at once" or "noise that is left".

# %%
guess = "noise that is left"  # your guess

# %% [markdown]
# ## Measure
#
# The toy world draws 256 real clips of this caption. Is a one-step video nearer (in squared error) to their average, or
# to the clip that the same noise becomes in twelve steps?

# %%
scenes = [random_scene(np.random.default_rng([8, i]), corner, triple=("circle", "red", "right")) for i in range(256)]
real = to_model_range(torch.from_numpy(np.stack([draw(scene, 8, 32) for scene in scenes])).movedim(-1, 1)).mean(0)
one, twelve = (model.generate([asked] * 16, seeds=list(range(16)), steps=steps, guidance=1) for steps in (1, 12))
show(sheet(list(to_frames(torch.stack([one[7], one[9], real]))), ["1 step", "1 step", "average of 256"]), "08-average")
to_average, to_clip = (float((one - other).square().mean()) for other in (real, twelve))
print("your guess:", guess)
claim(to_average < 0.7 * to_clip, "one step gives many clips at once", to_average=to_average, to_clip=to_clip)

# %% [markdown]
# This is what the loss asked for. Noise alone says nothing about where the circle is. The answer of least squared error
# is then the average of all clips of the caption, and longer training would not sharpen it. (The smear leans to another
# side with other noise, as if something could be read there: this model is not perfect.)
#
# ## A plane of points
#
# A clip here has 24,576 numbers, which nobody can see; a point in a plane has two. Let 900 points in three heaps be all
# data there is. The answer of least squared error is then known at every t: the average of all points, each weighted by
# how likely it is the one that became x_t. With normal noise, the weight falls with the squared distance.

# %%
chance = torch.Generator().manual_seed(0)
heaps = torch.tensor([[0.0, -1.7], [1.2, 0.0], [0.0, 1.7]])
heap_of = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 900, replacement=True, generator=chance)
points = heaps[heap_of] + 0.3 * torch.randn(900, 2, generator=chance)


def best(data):
    """The best denoiser of data (N, 2): a function like a trained network's, (x_t, t) → clean, noise."""

    def denoise(x, t):
        alpha, sigma = (along(value, x) for value in path.alpha_sigma(t))  # (B, 1)
        squared = (x[:, None] - alpha[:, None] * data).square().sum(-1)  # (B, N)
        clean = (-squared / (2 * sigma**2)).softmax(1) @ data
        return clean, (x - alpha * clean) / sigma

    return denoise


start = torch.randn(500, 2, generator=chance)
off = (samplers.euler(best(points), start, torch.tensor([1.0, 0.0]), path) - points.mean(0)).abs().max()
claim(off < 1e-3, "one step takes all 500 noises to the average of all points", largest_difference=off)

# %% [markdown]
# ## Exercise 8.1
#
# Now the step. By the path, x_t = alpha x + sigma noise. Take both estimates as true. Then only alpha and sigma change
# with t, so x_t moves at the speed alpha' clean + sigma' noise (the dash is the slope: how fast a value changes). On
# the linear path this is noise - clean: the velocity of lesson 07, now as a direction to walk in. Write one step, from
# t down to t_next, which are single numbers.


# %%
@exercise("8.1")
def step(x_t, clean, noise, t, t_next): ...


# %% [markdown]
# ## Open the box
#
# Why not step to t = 0 at once? The estimates hold only where they were made. A little later there is less noise, so
# fewer points could have become x_t, and the average is one of fewer. So a sampler takes a short step, and asks again:

# %%
show_source(samplers.velocity)
show_source(samplers.euler)

# %% [markdown]
# What it follows is an *ODE* (ordinary differential equation): the speed depends on where you are and when, and on
# nothing else. An *SDE* (stochastic differential equation) is the same walk with chance: each step removes more noise
# than the ODE would, and adds fresh noise instead.

# %%
show_source(sde.euler_maruyama)

# %% [markdown]
# Here are both, from the same 500 noises. Above them is what training sees: points mixed with noise. Time runs to the
# right, from noise to data. A colour stands for the heap at the end, a line is the way of one point. Training's lines
# are straight and cross. Can those of walkers cross, if their speed depends on place and time alone?


# %%
def recorded(denoise, trail):
    """The same denoiser, which also notes where it was asked and what clean video it found."""

    def find(x, t):
        clean, noise = denoise(x, t)
        trail.append((x, clean))
        return clean, noise

    return find


def walk(sampler):
    """Where all walkers are at 101 times, (101, 500, 2)."""
    trail, fresh = [], lambda: torch.randn(500, 2, generator=chance)
    end = sampler(recorded(best(points), trail), start, grids.uniform_grid(100, path), path, fresh)
    return torch.stack([*(x for x, _ in trail), end])


mixed = torch.stack([path.mix(points[:500], start, t.expand(500)) for t in grids.uniform_grid(100, path)])
ways = {"mixed, in training": mixed, "ODE": walk(samplers.euler), "SDE": walk(sde.euler_maruyama)}
figure, axes = plt.subplots(3, 1, figsize=(8, 9), sharex=True, sharey=True, layout="tight")
aside, heap = torch.linspace(0, 28, 101), {}
for axis, (name, way) in zip(axes, ways.items(), strict=True):
    heap[name] = torch.cdist(way[-1], heaps).argmin(1)  # (500,)
    colours = np.array(["tab:blue", "tab:orange", "tab:green"])[heap[name]]
    for index in range(0, 101, 25):
        axis.scatter(way[index, :, 0] + aside[index], way[index, :, 1], 3, colours, alpha=0.5, linewidths=0)
    for walker in range(12):
        axis.plot(way[:, walker, 0] + aside, way[:, walker, 1], color=colours[walker], linewidth=0.8)
    axis.set(ylabel=name, yticks=[], xticks=aside[::25], xticklabels=["noise", 0.75, 0.5, 0.25, "data"])
show(figure, "08-walks")

# %%
stayed = (torch.cdist(walk(sde.euler_maruyama)[-1], heaps).argmin(1) == heap["SDE"]).float().mean()
claim(stayed < 0.7, "the SDE often takes the same noise to another heap", same_heap=stayed)
for name in ("ODE", "SDE"):
    off = (heap[name].bincount(minlength=3) / 500 - heap_of.bincount(minlength=3) / 900).abs().max()
    claim(off < 0.1, f"{name}: its heaps are as full as the data's", largest_difference=off)
    off = (ways[name][50].std(0) - mixed[50].std(0)).abs().max()
    claim(off < 0.1, f"{name}: halfway, it is as wide as mixed points", largest_difference=off)

# %% [markdown]
# So the ways differ, and the clouds do not: at each t, walkers lie as mixed points do. These clouds, one a t, are the
# *probability path*. No walker knows of it: it sees its own place only. The ODE's lines cannot meet, so each heap owns
# a region of the noise. The SDE forgets where it came from.
#
# ## Exercise 8.2
#
# Euler takes the direction at the start of a step, though the lines bend. *Heun's* sampler also asks for the direction
# where that step would lead, and walks along the mean of both. Write it, for the linear `path`, with
# `samplers.velocity`. The last step, to t = 0, is Euler's: `samplers.clean(denoise, x, t)`.


# %%
@exercise("8.2")
def my_heun(denoise, x, times): ...


# %%
exact, error = samplers.heun(best(points), start, grids.uniform_grid(300, path), path), {}
for sampler, steps in ((samplers.heun, 8), (samplers.euler, 15)):  # both ask 15 times
    end = sampler(best(points), start, grids.uniform_grid(steps, path), path)
    error[sampler.__name__] = float((end - exact).norm(dim=1).mean())
claim(error["heun"] < 0.75 * error["euler"], "asked as often, Heun ends nearer", **error)

# %% [markdown]
# ## Back to videos: what is decided when?
#
# Now the toy model, with Euler's sampler and twelve steps, makes a video of each combination that training showed. The
# toy world's judge, which has no learned part, reads the clean video that the model finds at each step. Which fact is
# right first, and which last?

# %%
guess = "motion last"  # your guess
triples, trail = combinations(corner, unseen=False), []
noise = torch.randn(len(triples), *model.latent_shape(), generator=chance)
denoise = torch.no_grad()(model.denoiser_for([prompt(*triple) for triple in triples], {}))


def right(videos):
    """The shares with the right shape, colour, motion, and all three."""
    return np.mean([facts_right(t, judge(f)) for t, f in zip(triples, to_frames(videos), strict=True)], 0)


times = samplers.shifted_grid(12, path, shift=6)
made = samplers.euler(recorded(denoise, trail), noise, times, path)
found = np.array([right(clean) for _, clean in trail])  # (12, 4)
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot([f"{t:.2f}" for t in times[:-1]], found[:, :3], marker="o", label=["shape", "colour", "motion"])
axes.set(xlabel="t of each step", ylabel="right in the clean video")
axes.legend()
show(figure, "08-decided")
late, last = found[8, 3], found[-1, 3]  # late: t = 0.75
facts = dict(zip(("shape", "colour", "motion"), found[0], strict=False))
claim(facts["shape"] < 0.1 and facts["motion"] > 0.6, "at first, colour and motion are right, but no shape", **facts)
claim(late > last - 0.06, "at t = 0.75, all is decided", late=late, last=last)

# %% [markdown]
# The caption says all three. But an average over all places is still red, and still moves; it has no shape. A shape can
# come only once its place is known, and that happens at much noise. The times above are shifted there, as the training
# objective's are (`grids.py` has others). Is that needed? And are twelve steps?

# %%
few, even = (right(samplers.euler(denoise, noise, samplers.shifted_grid(4, path, s), path))[3] for s in (6, 1))
claim(few > last - 0.1, "four steps are nearly as right as twelve", four=few, twelve=last)
claim(abs(few - even) < 0.1, "and even times nearly as right as shifted ones", shifted=few, even=even)

# %% [markdown]
# Neither is needed, as far as this judge sees: the toy world is simple, and little is left to decide once a place is
# found. Long videos of a real world are not so.
#
# ## Guidance
#
# Captions are wrong now and then, and networks do not listen well. *Classifier-free guidance*
# ([2207.12598](https://arxiv.org/abs/2207.12598)) asks the denoiser twice, with the caption and without, and goes from
# the second answer towards the first. A *scale* of 1 ends there; a larger one goes on beyond. Read `both`:

# %%
show_source(guidance.guided)

# %% [markdown]
# In the plane, let a caption belong to the top heap, and be wrong for one of its points in six.

# %%
top, others, obey, spread = points[heap_of == 2], points[heap_of != 2], {}, {}
captioned = torch.cat([top, others[: len(top) // 5]])
figure, axes = plt.subplots(1, 3, figsize=(9, 3.5), sharex=True, sharey=True, layout="tight")
for axis, scale in zip(axes, (1, 2, 6), strict=True):
    end = samplers.euler(
        guidance.guided(best(captioned), best(points), scale), start, grids.uniform_grid(30, path), path
    )
    inside = torch.cdist(end, heaps).argmin(1) == 2
    obey[scale], spread[scale] = float(inside.float().mean()), float(end[inside].std(0).mean() / top.std(0).mean())
    axis.scatter(*points.T, 3, "silver")
    axis.scatter(*end.T, 3, "tab:green")
    axis.set(title=f"scale {scale}", xticks=[], yticks=[])
show(figure, "08-plane")
claim(obey[2] > obey[1] + 0.05, "more points end in the top heap", scale_1=obey[1], scale_2=obey[2])
claim(spread[2] < 0.9 * spread[1], "and spread less there", scale_1=spread[1], scale_2=spread[2])

# %% [markdown]
# No network is to blame: this denoiser is perfect. Guidance does not draw from the data of a caption, but from where
# these stand out most from all others, and in the end beyond them.
#
# ## Exercise 8.3
#
# Choose a scale, and the interval of times at which it holds (`interval` above), so that at least 97 % of points end in
# the top heap, and spread there at least 0.9 times as widely as its data.


# %%
@exercise("8.3")
def choose(): ...  # scale, (low, high)


# %% [markdown]
# Does the toy model pay as well? Eight prompts, eight videos each. *Spread* is how much the videos of one prompt differ
# in the distance covered, or in size, divided by how much real clips do. Guess the share of right videos at scale 6.

# %%
guess = 0.9  # your guess
asked, right_at, spread_at = triples[::8] * 8, {}, {}
for scale in (1, 1.5, 3, 6):
    videos = model.generate([prompt(*t) for t in asked], seeds=list(range(64)), guidance=scale)
    seen = [judge(frames) for frames in to_frames(videos)]
    right_at[scale] = np.mean([facts_right(t, things)[3] for t, things in zip(asked, seen, strict=True)])
    spread_at[scale] = diversity(asked, seen, corner)["distance"]
    print(f"scale {scale}: {right_at[scale]:.0%} right, spread of distance {spread_at[scale]:.2f}")
claim(right_at[3] > right_at[1] - 0.06, "guided at 3, as many are right", free=right_at[1], guided=right_at[3])
claim(spread_at[3] < 0.7 * spread_at[1], "but they differ less", free=spread_at[1], guided=spread_at[3])
claim(right_at[6] < right_at[1] - 0.2, "guided at 6, fewer are even right", guided=right_at[6], your_guess=guess)

# %% [markdown]
# The share of right videos hides what variety was lost, so both must be measured. The other cost is time: two questions
# a step.
#
# ## The picture
#
# Here is one of the twelve-step walks above: where the sampler stands, and the clean video that the model finds there.
# Both play while the noise goes.

# %%
index, clips = triples.index(("circle", "red", "right")), []
for walked in zip(*trail, strict=True):  # all x_t, then all clean videos
    steps = [video[index] for video in (*walked, *[made] * 4)]
    clips.append(to_frames(torch.stack([video[:, k % 8] for k, video in enumerate(steps)], 1)))  # a frame of each
film(clips, ["where it stands", "what it finds"], "08-noise-to-video", 250, columns=2)

# %% [markdown]
# ## What is still missing
#
# Even at scale 1 this model varies less than real clips do. No sampler mends that: it was learnt. Nor must one step be
# a blur: a network can be trained on a sampler's walks to leap to their ends (consistency models,
# [2303.01469](https://arxiv.org/abs/2303.01469)), which this project does not have. Next: what stands between a loss
# and a trained model?
