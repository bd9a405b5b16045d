# %% [markdown]
# # 05 · Fewer numbers, same film
#
# **What does a video lose when it becomes ten times fewer numbers?**
#
# A minute of video of 1280 × 720 pixels, 24 frames a second, is four billion numbers. Large models learn to make a far
# smaller tensor instead, the *latents*. An *autoencoder* turns a video into latents and back: a pair of networks, the
# encoder and the decoder, that is trained first and then left as it is (latent diffusion,
# [2112.10752](https://arxiv.org/abs/2112.10752)).
#
# This lesson trains one, and looks for what is lost: in each picture, in the order of time, and where the pieces of a
# long video meet. It opens `kl.py`, `layers.py`, `losses.py` and `streaming.py` in `lite_sora/autoencoders/`. At the
# end you will have sent a video of a size and length that the networks never saw through them, piece by piece.
#
# Training comes first. It needs no captions, and sees nothing but clips of 9 frames of 32 × 32 pixels. It prints two
# measures of likeness; PSNR is explained below.

# %%
from pathlib import Path

import torch
import torch.nn.functional as F
from exercises import claim, exercise, hint, show_source, solution  # noqa: F401  hint and solution are for you
from folders import own_folder
from pictures import film, show

from lite_sora.autoencoders.kl import KLAutoencoder
from lite_sora.autoencoders.layers import CausalConv3d
from lite_sora.autoencoders.losses import gradient, l2, psnr
from lite_sora.autoencoders.saved import open_folder, read_config
from lite_sora.autoencoders.streaming import chunks
from lite_sora.data.loading import batches, to_frames, to_model_range
from lite_sora.data.preview import sheet
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.reconstruction import clips_of
from lite_sora.layers.patches import patchify, unpatchify
from lite_sora.toy.judge import judge
from lite_sora.training.autoencoder import AutoencoderSettings, train

folder = train(AutoencoderSettings(out=str(own_folder("05") / "kl"), steps=500, toy_clips=512))
model = open_folder(folder).eval().requires_grad_(False)

# %% [markdown]
# ## Look first
#
# Here is a clip whose combination of shape, colour and motion training never showed, its latents, and the video that is
# made of them.


# %%
def read(held_out: bool, most: int) -> torch.Tensor:
    """Clips as one batch (B, 3, 9, 32, 32) in [-1, 1]."""
    manifest = Path(read_config(folder)["training"]["manifest"])
    clips = VideoDataset(clips_of(manifest, held_out)[:most], manifest.parent, 9, 32, 32, fps=8)
    return to_model_range(next(iter(batches(clips, [[(i, 0) for i in range(len(clips))]], workers=0))).video)


x = read(held_out=True, most=32)
z = model.encode(x)
rebuilt = model.decode(z)
pictures = [to_frames(x[0]), to_frames(z[0, :3] / 3), to_frames(rebuilt[0])]
show(sheet(pictures, ["the clip", "three of eight channels of its latents, as colours", "rebuilt"]), "05-look")
print(f"clip {tuple(x[0].shape)}, latents {tuple(z[0].shape)}: {x[0].numel() / z[0].numel():.1f} times fewer numbers")

# %% [markdown]
# Height and width became four times smaller, and three colours became eight channels. Time is the odd one: 9 frames
# became 5. The first frame is encoded on its own, and then each two become one. So where time is made t times smaller,
# 1 + k t frames become 1 + k latent frames. There is a reason: an image is then simply a video of one frame, and a
# model can learn from images too, of which there are far more.
#
# ## Exercise 5.1
#
# How many latent frames do `frames` frames become? Numbers that are not 1 + k t, with k from 0 on, are refused: raise
# ValueError. (`hint("5.1")` and `solution("5.1")` help.)


# %%
@exercise("5.1")
def latent_frames(frames, t): ...


# %% [markdown]
# ## Open the box
#
# These are the package's own lines: what happens to a batch in training.

# %%
show_source(KLAutoencoder.forward)

# %% [markdown]
# The encoder gives each latent a mean and a variance. The decoder is given a random draw from that distribution, so it
# has to forgive small errors. The loss is a sum of three terms:
#
# - `l2`, the squared error of pixels;
# - `gradient`, with a weight of 0.1: the error of the *differences* between neighbouring pixels;
# - the *KL divergence* of each latent's distribution from a normal one of mean 0 and variance 1, with a weight of
#   0.0001. A diffusion model will have to make latents out of such noise, so they should not be far from it. The weight
#   is small, since latents that were exactly that noise would say nothing.
#
# Why the second term? Compare blurred clips with clips of the same squared error that are merely a little brighter.

# %%
show_source(gradient)
blurred = F.avg_pool3d(x, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)
brighter = x + l2(x, blurred).sqrt().view(-1, 1, 1, 1, 1)
edges = {"blurred": float(gradient(x, blurred).mean()), "brighter": float(gradient(x, brighter).mean())}
claim(edges["blurred"] > 0.01 > edges["brighter"], "gradient tells lost edges from a change of brightness", **edges)

# %% [markdown]
# ## Predict
#
# Does it take a network at all? A block of 2 frames × 4 × 4 pixels × 3 colours is 96 numbers, for which there are 8
# numbers of latents. A linear map can do that too. The best one keeps the 8 directions in which the blocks of training
# clips differ most (*principal components*).
#
# How many numbers must the linear map keep of each 96, until its squared error is as small as the network's, which has
# 8? Write down your guess.

# %%
guess = 8  # your guess, from 1 to 96

# %% [markdown]
# ## Measure
#
# How good a video is, is told in decibels. The *PSNR* is ten times the logarithm (base 10) of a ratio: the largest
# possible squared error over the one that there is. 10 decibels more means a tenth of the squared error.

# %%
known, new = (patchify(clips[:, :, 1:], (2, 4, 4)) for clips in (read(held_out=False, most=480), x))  # (B, N, 96)
mean = known.mean((0, 1))
_, directions = torch.linalg.eigh((known - mean).flatten(0, 1).T.cov())  # rising variance


def linear(numbers: int) -> torch.Tensor:
    best = directions[:, -numbers:]
    return unpatchify((new - mean) @ best @ best.T + mean, (2, 4, 4), (8, 32, 32))


def quality(video: torch.Tensor, of: torch.Tensor) -> float:
    return float(psnr(of, video).mean())


later = x[:, :, 1:]  # without the first frame, which stands on its own
network, linear_8 = quality(rebuilt[:, :, 1:], later), quality(linear(8), later)
needed = next(numbers for numbers in range(1, 97) if quality(linear(numbers), later) >= network)
print(f"your guess: {guess}; the linear map needs {needed} numbers of 96")
claim(network > linear_8 + 3, "8 numbers of a network beat the best linear 8 (dB)", network=network, linear=linear_8)
labels = ["the clip", f"linear, 8 numbers a block: {linear_8:.1f} dB", f"network, 8 numbers: {network:.1f} dB"]
show(sheet([to_frames(video[0]) for video in (later, linear(8), rebuilt[:, :, 1:])], labels), "05-linear")

# %% [markdown]
# The network need not be linear, and it sees the blocks around as well. The picture says what is lost: sharp edges.
# What is kept? The *judge* of lesson 02 reads the shape, the colour and the motion from the frames alone.

# %%
seen = [[judge(frames)[0].triple for frames in to_frames(videos)] for videos in (x, rebuilt)]
kept = sum(one == other for one, other in zip(*seen, strict=True)) / len(x)
claim(kept > 0.9, "edges are lost, facts are not", share_of_clips_with_all_facts=kept)

# %% [markdown]
# A diffusion model will not hit latents exactly. What does an error cost? The standard deviation of latents is 1, since
# `encode` scales them. Add noise of half that to latents; and, for comparison, noise of half theirs to pixels.

# %%
torch.manual_seed(0)
whole = quality(rebuilt, x)
cost = {
    "latents": whole - quality(model.decode(z + 0.5 * torch.randn_like(z)), x),
    "pixels": whole - quality(rebuilt + 0.5 * x.std() * torch.randn_like(x), x),
}
claim(cost["pixels"] > cost["latents"] + 3, "an error in latents costs less (dB lost)", **cost)

# %% [markdown]
# ## The order of time
#
# A convolution over three frames usually looks at the frame before, this one, and the next. Then the first latent could
# not be made before later frames are there. A *causal* convolution looks at this frame and the two before it. All that
# it takes is where one pads: a plain convolution makes T frames of T + 2.
#
# ## Exercise 5.2
#
# Pad `h` (B, C, T, H, W) in time, so that a plain convolution over `kernel` frames gives T frames and never looks
# ahead, and so that a still video stays still.


# %%
@exercise("5.2")
def causal_pad(h, kernel): ...


# %% [markdown]
# Here is the package's. Ignore `memory` for now.

# %%
show_source(CausalConv3d.forward)

# %% [markdown]
# Replace the last frames of all clips by those of other clips: do the latents of the frames before notice? And does an
# image, which is a first frame alone, have the same latents as the first frame of the video?

# %%
changed = torch.cat([x[:, :, :5], x.flip(0)[:, :, 5:]], dim=2)
moved = (model.encode(changed) - z).abs().amax((0, 1, 3, 4))  # of each latent frame
claim(float(moved[:3].max()) < 1e-5 < 0.1 < float(moved[3]), "the past notices nothing", past=moved[2], after=moved[3])
image = float((model.encode(x[:, :, :1]) - z[:, :, :1]).abs().max())
claim(image < 1e-5, "an image is a video of one frame", largest_difference=image)

# %% [markdown]
# So a video can go on: what was encoded stays as it is. One layer is enough to spoil that: attention over all frames,
# or a usual normalisation, which takes its statistics over them. That is why `layers.py` normalises each position on
# its own.
#
# ## Exercise 5.3
#
# Write the test that finds such a layer. `network` takes (1, 3, frames, 8, 8), and gives the same shape. Return two
# numbers: how many frames its outputs look back, and how many ahead, at most.


# %%
@exercise("5.3")
def reach(network, frames): ...


# %% [markdown]
# ## A piece at a time
#
# Nothing that is still to come is needed, so a long video need not be there whole. Each layer needs its last frames
# again, two at most, and leaves them in a `Memory`, a dictionary that is empty at first. A layer that finds frames
# there does not pad: it continues.
#
# ## Exercise 5.4
#
# Write that loop. Send `video` through `network(piece, memory)`, 1 + `size` frames first and then `size` at a time, and
# put together what comes out.


# %%
@exercise("5.4")
def stream(network, video, size): ...


# %% [markdown]
# `encode` and `decode` do so.

# %%
show_source(chunks)
show_source(KLAutoencoder.encode_stream)

# %% [markdown]
# Take a video of 129 frames, in which four shapes move to and fro. Do its pieces give what the whole gives? How large
# does the memory get? And what if each piece begins without one?

# %%
four = [0, 2, 7, 9]  # of different shapes and colours
wall = torch.cat([torch.cat([*row], dim=-1) for row in x[four].unflatten(0, (2, 2))], dim=-2)[None]  # (1, 3, 9, 64, 64)
back, forth = wall.flip(2)[:, :, 1:], wall[:, :, 1:]
long = torch.cat([wall, *[back, forth] * 7, back], dim=2)  # (1, 3, 129, 64, 64)

at_once = (model.encoder(long).chunk(2, dim=1)[0] - model.shift) * model.scale
apart = float((model.encode(long) - at_once).abs().max())
claim(apart < 1e-4, "pieces of time give what the whole gives", largest_difference=apart)
mebibytes = {}
for frames in (9, 129):
    model.encoder(long[:, :, :frames], memory := {})
    mebibytes[f"after_{frames}_frames"] = sum(kept.numel() * kept.element_size() for kept in memory.values()) / 2**20
claim(len(set(mebibytes.values())) == 1, "the memory does not grow (MiB)", **mebibytes)
forgetful = [next(model.decode_stream([piece])) for piece in chunks(at_once, size=4)]  # each is the first of its stream
lost = long.shape[2] - sum(piece.shape[2] for piece in forgetful)
claim(lost > 0, "without a memory each piece is taken for a new video, and frames are lost", frames_lost=lost)

# %% [markdown]
# ## A tile at a time
#
# Large frames are cut as well, into *tiles*. But a convolution over space looks to all sides, so no tile can come after
# all that it needs. Each is therefore encoded as if there were nothing around it. Tiles overlap, and one fades into the
# next. The frames get a black border here, so that the tiles' edges run through the shapes.

# %%
large = F.pad(wall, (16, 16, 16, 16), value=-1)  # (1, 3, 9, 96, 96), or 24 × 24 latents
tiled, decibels = {}, {}
for name, tile, overlap in (("whole", 24, 0), ("no_overlap", 8, 0), ("overlap", 8, 4)):
    model.tile, model.overlap = tile, overlap
    tiled[name] = model.decode(model.encode(large))
    decibels[name] = quality(tiled[name], large)
apart = float((tiled["overlap"] - tiled["whole"]).abs().max())
claim(apart > 0.01, "tiles of space are never quite the whole", largest_difference=apart)
claim(decibels["no_overlap"] < decibels["whole"] - 1, "without overlap they are bad", **decibels)
claim(decibels["overlap"] > decibels["whole"] - 0.5, "with it, nearly nothing is lost", **decibels)

# %% [markdown]
# ## A film that it never saw
#
# All layers are local: none knows how long or how large a video is. Training saw one shape in 9 frames of 32 × 32. Here
# are four in 17 frames of 64 × 64, in pieces of time and tiles of space. Is that harder? And is a white background?

# %%
video = long[:, :, :17]
results = {}
for tile in (24, 8):  # the whole, and tiles
    model.tile, model.overlap = tile, 4
    results[tile] = model.decode(model.encode(video))
errors = {"clips": float(l2(x[four], rebuilt[four]).mean()), "film": float(l2(video, results[8]).mean())}
claim(errors["film"] < 1.3 * errors["clips"], "larger and longer is hardly harder (squared error)", **errors)
white = quality(model.decode(model.encode(-x)), -x)  # in negatives of the clips
claim(white < whole - 8, "but it knows its own world alone: on white it fails (dB)", black=whole, white=white)
lost, seams = 4 * (video - results[8]).abs() - 1, 8 * (results[24] - results[8]).abs() - 1
labels = ["a film it never saw", "rebuilt from latents", "what was lost, x 4", "what tiles did, x 8"]
film([to_frames(clip[0]) for clip in (video, results[8], lost, seams)], labels, "05-film")

# %% [markdown]
# So what is lost is sharpness, and a little at the seams of space. At the seams of time nothing is.
#
# ## What is still missing
#
# - What the autoencoder loses, no diffusion model in its latents brings back: it is the ceiling. Large ones make edges
#   sharp by losses that are networks themselves (`--perceptual lpips` and `--gan-weight` of `train.py autoencoder`).
# - It knows what it was shown and nothing else. Large ones are shown all kinds of videos.
# - Latents pay where videos are large. In the toy world pixels are good enough, so the next lessons stay with them.
#   `python train.py --autoencoder runs/lesson-05/kl` works in latents; [what was measured](measured.md) compares.
#
# Next: a transformer gets a video, or its latents, in patches, which to it are a set without an order. How does it know
# where a patch is?
