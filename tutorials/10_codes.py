# %% [markdown]
# # 10 · Codes, one after another
#
# **Can a language model write a video?**
#
# A language model says how likely each word is to come next, given the words before. Words are symbols from a list. A
# video has no words, only numbers. This lesson turns a clip into symbols, lets a transformer learn which follows which,
# and has it write clips. It also finds out how little news there is in a clip.
#
# It opens `lite_sora/autoencoders/vq.py`, `quantizers.py` and `lite_sora/prior/`. Training two small models takes most
# of its time. At the end you watch four clips being written, symbol by symbol.

# %%
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from exercises import claim, exercise, hint, show_source, solution  # noqa: F401  hint and solution are for you
from folders import own_folder
from pictures import film, show

from lite_sora.autoencoders.quantizers import EMACodebook, perplexity
from lite_sora.data.clip import read_manifest
from lite_sora.data.loading import batches, to_frames, to_model_range
from lite_sora.data.preview import sheet
from lite_sora.data.windows import VideoDataset
from lite_sora.evaluation.adherence import measure
from lite_sora.prior.pipeline import TextToCodes, open_vq
from lite_sora.prior.sampling import draw
from lite_sora.prior.transformer import CodeTransformer
from lite_sora.toy.sentences import prompt
from lite_sora.toy.world import CORNERS, combinations
from lite_sora.training import autoencoder, prior

folder = own_folder("10")

# %% [markdown]
# ## Look first
#
# In each clip of the toy world one of 3 shapes, in one of 6 colours, moves in one of 4 directions. An *autoencoder* has
# two halves: the *encoder* makes something smaller of a clip, its *latents*, and the *decoder* makes the clip again
# from them. Here nothing may pass between the two but *codes*: whole numbers from 0 to 255, one for each block of 4
# frames × 4 × 4 pixels. Start the cell; it learns for a minute. Then look at a clip that it has never seen, and at half
# of its codes.

# %%
settings = autoencoder.AutoencoderSettings(kind="vq", steps=500, sample_every=0, out=str(folder / "vq"))
vq = open_vq(autoencoder.train(settings)).model

manifest = Path("data/toy/manifest.jsonl")
unseen = [clip for clip in read_manifest(manifest) if not clip.for_training][:64]
videos = VideoDataset(unseen, manifest.parent, frames=8, height=32, width=32, fps=8)
x = to_model_range(next(iter(batches(videos, [[(index, 0) for index in range(64)]], workers=0))).video)
codes = vq.codes(x)  # (64, 2, 8, 8): two halves of a clip, eight rows, eight columns
print(codes[0, 0])
rebuilt = vq.decode_codes(codes).clamp(-1, 1)
show(sheet([to_frames(x)[0], to_frames(rebuilt)[0]], ["an unseen clip", "what its 128 codes say"]), "10-codes")

# %% [markdown]
# ## Open the box: the codebook
#
# The encoder gives each block a vector of 32 numbers. The *codebook* is a list of 256 such vectors, and a block's code
# is the place of the nearest one. This is *vector quantisation*, the VQ in VQ-VAE
# ([1711.00937](https://arxiv.org/abs/1711.00937)), made for video by VideoGPT
# ([2104.10157](https://arxiv.org/abs/2104.10157)).

# %%
show_source(EMACodebook.choose)

# %% [markdown]
# ## Exercise 10.1
#
# Write it yourself in a line, by one matrix product: z is (N, D), `vectors` is (K, D), and the codes are (N,).
# (`hint("10.1")` and `solution("10.1")` help.)


# %%
@exercise("10.1")
def nearest(z, vectors): ...


# %% [markdown]
# How can that learn? A choice has no slope: move a latent a little, and its code stays what it was. The way out is the
# last line of `forward`. Its value is the codebook's vector; its gradient is that of z, as if nothing had been chosen
# (the *straight-through* estimator). The loss asks first for the clip itself. Its second part, the *commitment*, draws
# latents to their codes.
#
# The codebook itself has no gradient. In `update`, each code moves to the average of the latents that lately chose it.
# A code that hardly any latent chooses would stay where it is for ever. So it starts again at a random latent.

# %%
show_source(EMACodebook.forward)
show_source(EMACodebook.update)

# %% [markdown]
# ## Exercise 10.2: an experiment
#
# Suppose that most latents nearly coincide. A codebook made of random latents then wastes itself on them. Find `codes`
# vectors, (codes, D), for latents z, (N, D). From a latent to its nearest vector, the mean squared distance must be at
# most two thirds of what random latents reach. `EMACodebook` may do the work: call its `update` again and again, each
# time with the codes that `torch.cdist(z, vectors).argmin(1)` chooses.


# %%
@exercise("10.2")
def codebook(z, codes): ...


# %% [markdown]
# How much of our codebook is in use? The *perplexity* counts the codes, each by its share: 256 if all are used alike,
# 1 if a single one is.

# %%
used = perplexity(codes, of=256)
shares = torch.bincount(codes.flatten(), minlength=256).sort(descending=True).values / codes.numel()
figure, axes = plt.subplots(figsize=(6, 2.2))
axes.bar(range(256), shares, width=1)
axes.set(xlabel="codes, the most frequent first", ylabel="share of blocks")
show(figure, "10-use")
claim(20 < used < 160, "some codes do most of the work, but the codebook has not collapsed", perplexity=used)

# %% [markdown]
# ## Predict
#
# What does a clip cost, in bits? Its pixels are 8 × 32 × 32 × 3 values of 8 bits: 196,608. Its codes are 128 numbers of
# 8 bits: 1,024. Somebody who knows how frequent each code is needs log2(perplexity) bits for each. And somebody who
# also knows the caption, and at each code all those before it?
#
# For comparison, a caption such as "a red circle moving right" has 25 letters and spaces of 8 bits: 200. Write down
# your guess.

# %%
guess = 400  # bits; your guess

# %% [markdown]
# ## Open the box: the language model
#
# The *prior* says how likely each code is. It is a transformer, as GPT is. It reads the caption's words, then the codes
# as one reads a page: the first half of the clip row by row, then the second. In training all 128 are known, so all can
# be predicted at once: `tril`, in `advance`, hides from each place what comes after it.

# %%
show_source(CodeTransformer.advance)

# %% [markdown]
# The loss is *cross-entropy*: minus the logarithm of the probability that it gave to the code that came. A code of
# probability p can be written down in about -log2 p bits. So the loss is the length of the clip, written by somebody
# who knows what the model knows. It is counted in *nats*: a bit is log 2 of them. Start the cell; the prior learns for
# a minute or two.

# %%
show_source(TextToCodes.forward)
settings = prior.PriorSettings(autoencoder=str(folder / "vq"), steps=500, batch_size=16, dropout=0.0)
settings.sample_every, settings.adherence_clips, settings.out = 0, 0, str(folder / "prior")
model = TextToCodes.from_pretrained(prior.train(settings))

# %% [markdown]
# ## Exercise 10.3
#
# The bits of each clip, (B,), from the transformer's logits (B, N, K) and the codes that came (B, N).


# %%
@exercise("10.3")
def bits(logits, codes): ...


# %% [markdown]
# ## Measure
#
# Here is what an unseen clip costs, on average over 64 of them.

# %%
captions = [clip.caption for clip in unseen]
with torch.no_grad():
    nats = model(codes, model.text.tokenize(captions))  # (64,), of each code on average
costs = {
    "pixels": 8 * x[0].numel(),
    "codes": 8 * 128,
    "codes, by how frequent they are": 128 * math.log2(used),
    "the caption, by its letters": 8 * float(np.mean([len(caption) for caption in captions])),
    "codes, by the prior": 128 * float(nats.mean()) / math.log(2),
}
figure, axes = plt.subplots(figsize=(5, 2.2))
axes.bar_label(axes.barh(list(costs), list(costs.values())), fmt=" {:,.0f}")
axes.set(xscale="log", xlim=(50, 2e6), xlabel="bits of an unseen clip")
axes.invert_yaxis()
show(figure, "10-costs")
_, _, frequent, letters, written = costs.values()
print(f"your guess: {guess}")
claim(written < 0.33 * frequent, "order is worth far more than frequency", prior=written, frequency=frequent)
claim(written < 0.9 * letters, "the clip costs less than the letters of its caption", prior=written, letters=letters)

# %% [markdown]
# Letters are a wasteful way to write: there are 3 × 6 × 4 = 72 captions of this kind, and log2(72), about 6 bits, would
# name one. The clip's bits tell what no caption says: where the shape starts, how large and how fast it is, and how its
# edges fall on the blocks.
#
# ## It can read
#
# The probability of a clip given a caption can be asked the other way round. Take an unseen clip, and ask for its bits
# under each of the 72 captions. Where all captions are equally likely beforehand, Bayes' rule says: each bit that the
# clip costs more under a caption halves that caption's probability. Nobody trained the prior to say what it sees. For
# how many of 24 clips, all of combinations that it never saw, will the right caption come out on top?

# %%
guess = 12  # of 24; your guess
triples = combinations(CORNERS["default"], unseen=False) + combinations(CORNERS["default"], unseen=True)
choices = [prompt(*triple) for triple in triples]  # 72
ids = model.text.tokenize(choices)


@torch.no_grad()
def log_p(clip: torch.Tensor) -> torch.Tensor:
    """The logarithms of the probabilities of a clip's codes (2, 8, 8), given each caption: (72, 128)."""
    logits = model.transformer(clip.expand(72, -1, -1, -1), model.text(ids))  # (72, 128, 256)
    return logits.log_softmax(-1).gather(-1, clip.flatten().expand(72, -1)[..., None])[..., 0]


truth = [choices.index(caption) for caption in captions[:24]]
believed = torch.stack([log_p(clip) for clip in codes[:24]]).cumsum(-1).softmax(1)  # (24, 72, 128), after each code
read = float((believed[..., -1].argmax(1) == torch.tensor(truth)).float().mean())
print(f"your guess: {guess} of 24; it was {24 * read:.0f}")
claim(read > 0.85, "the prior reads: of 72 captions, the right one makes the clip the likeliest", right=read)

figure, axes = plt.subplots(figsize=(6, 2.8))
for place, fact in enumerate(("shape", "colour", "motion")):
    same = torch.tensor([[triple[place] == triples[right][place] for triple in triples] for right in truth])
    belief = (believed * same[..., None]).sum(1).mean(0)  # (128,)
    axes.plot(range(1, 129), belief, label=fact)
axes.axvline(64, color="grey", linewidth=0.5)
axes.set(xlabel="codes read (at 64 the first half of the clip ends)", ylabel="belief in what is true")
axes.legend()
show(figure, "10-belief")
early, black = float(belief[15]), float((x[:24, :, :4, :8].amax(1) < -0.8).float().mean())
claim(early > 0.7, "the first 16 codes tell the motion", belief=early, chance=1 / 4)
claim(black > 0.6, "though most of what they stand for is black", share_of_black=black)

# %% [markdown]
# How can the codes of black blocks know the motion? The encoder is not cut into blocks: it has *attention* along each
# axis, and convolutions that overlap. A code is a word about the clip, said at one place.
#
# ## It can write
#
# To write is to draw a code, hand it back as the newest word, and ask for the next. What each layer has computed for
# the words and codes so far is remembered (the *KV-cache*), so that each code costs one token. Two knobs sharpen the
# choice. A *temperature* below 1 makes likely codes likelier; at 0 the likeliest is taken, and every seed gives the
# same clip. *Top-p* leaves out the tail ([1904.09751](https://arxiv.org/abs/1904.09751)). Guidance, from lesson 08,
# works on these logarithms too.

# %%
show_source(draw)

# %% [markdown]
# ## Exercise 10.4
#
# Keep the fewest codes that together have a probability of p or more, and give all others a logit of minus infinity.
# `logits` is (B, K).


# %%
@exercise("10.4")
def nucleus(logits, p): ...


# %% [markdown]
# Does it write what it is told? The judge of lesson 02, which measures pixels, looks at 64 clips of combinations that
# training showed, and at 64 of others. First the codes are drawn plainly, then sharply: with guidance and top-p.

# %%
plainly = measure(model, clips=64, guidance=1, top_p=1)
sharply = measure(model, clips=64, guidance=1.5, top_p=0.9)


def right(found: dict, kind: str) -> dict[str, float]:
    return {fact: found[kind][fact]["accuracy"] for fact in ("shape", "colour", "motion")}


for kind in ("seen", "held-out"):
    sharp = right(sharply, kind)
    claim(min(sharp["colour"], sharp["motion"]) > 0.9, f"{kind}: it writes the colour and the motion", **sharp)
plain = right(plainly, "held-out")
claim(plain["shape"] < min(plain["colour"], plain["motion"]) - 0.03, "drawn plainly, the shape fails most", **plain)
print(f"held-out shapes that are right: drawn plainly {plain['shape']:.0%}, sharply {sharp['shape']:.0%}")
claim(sharp["shape"] > 0.75, "drawn sharply, it is mostly right, where chance is a third", shape=sharp["shape"])

# %% [markdown]
# It fails mostly at the shape, though it has just read shapes well. A shape is in its edges. Those are written by many
# codes, each drawn by chance. A bad draw cannot be taken back, and all that follows reads it as if it were true.
# Against that there are the knobs.
#
# ## The picture
#
# Four clips as they are written, all eight frames of each. Codes that are not there yet are those of a black clip. The
# first two prompts are combinations that training never showed.

# %%
prompts = [choices[place] for place in (65, 70, 23, 47)]  # the last 8 are held out
so_far = []
model.generate(prompts, seeds=[1, 2, 3, 4], observe=so_far.append)
nothing = vq.codes(torch.full_like(x[:1], -1)).flatten(1).expand(4, -1)
steps = []
for count in [*range(4, 129, 4), *[128] * 6]:
    page = torch.cat([so_far[count - 1], nothing[:, count:]], dim=1)
    clips = to_frames(vq.decode_codes(page.unflatten(1, (2, 8, 8))).clamp(-1, 1))  # four of (8, 32, 32, 3)
    framed = [np.pad(clip, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=70) for clip in clips]
    steps.append([np.vstack([np.hstack(clip[:4]), np.hstack(clip[4:])]) for clip in framed])
film([np.stack(pages) for pages in zip(*steps, strict=True)], prompts, "10-written", columns=2)

# %% [markdown]
# ## What is still missing
#
# What the codebook cannot say is lost before the prior begins: look at the edges. Bits compare only over the same
# codebook, since one with a single code would cost nothing and say nothing. Each code waits for the one before. A
# minute of 1280 × 720 pixels at 24 frames a second would be 20 million of these codes. Diffusion changes all of a clip
# at once, and can still mend what it did before. So two ways lead from a caption to a video. The next question is how
# to compare them fairly, and which one wins ([a first measurement](measured.md)).
