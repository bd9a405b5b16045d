# %% [markdown]
# # 01 · First light
#
# **Can a laptop learn to make videos of what it is told, in minutes?**
#
# It can, and here you watch it. A network of random numbers becomes one that draws a red circle moving right when it is
# told so, and things that it was never shown. The parts of a model like Sora are all here, at a small size: captioned
# clips, noise, a transformer, and a sampler that makes videos; and a judge, who says what came out. Later lessons open
# them one by one. This one looks at the whole from outside, and asks in which order such a model learns.
#
# The trained model stays in `runs/first-light`, where later lessons find it.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
from exercises import claim, exercise, hint, show_source, solution  # noqa: F401  hint and solution are for you
from folders import FIRST_LIGHT, how_far
from pictures import film, show

from lite_sora.data.loading import to_frames
from lite_sora.data.preview import sheet
from lite_sora.evaluation.adherence.diversity import facts_right
from lite_sora.evaluation.adherence.questions import balanced
from lite_sora.pipeline import TextToVideo
from lite_sora.text.unknown import unknown_words
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import prompt, read_caption
from lite_sora.toy.world import CORNERS, combinations, draw, random_scene
from lite_sora.training.denoiser import DenoiserStage, train
from lite_sora.training.parts import DenoiserSettings

# %% [markdown]
# ## Look first
#
# Here are four clips, and what is said of each.

# %%
world = CORNERS["default"]
triples = (
    ("circle", "red", "right"),
    ("square", "green", "down"),
    ("triangle", "blue", "up"),
    ("circle", "yellow", "left"),
)
scenes = [random_scene(np.random.default_rng(index), world, triple=triple) for index, triple in enumerate(triples)]
clips = [draw(scene, frames=8, side=32) for scene in scenes]
captions = [prompt(*triple) for triple in triples]
film(clips, captions, "01-clips")

# %% [markdown]
# This is the *toy world*: 8 frames of 32 × 32 pixels, in which one coloured shape moves over black, from any place, at
# any speed. A program draws it, so that there is never a doubt about what a clip shows. A *caption* is what is said of
# a clip. A *prompt* is what a model is asked for; here it is a sentence of the same kind.
#
# ## What can be asked for
#
# Three shapes, six colours and four directions make 72 combinations. One in nine is *held out*: no training clip shows
# it, though other clips show its shape, its colour and its direction. A model that draws a held-out combination cannot
# have it by heart. It has put together what it knows.

# %%
seen = combinations(world, unseen=False)
print(f"{len(seen)} of {3 * 6 * 4} combinations are in training; the first:")
print(*(prompt(*triple) for triple in seen[:3]), sep="\n")

# %% [markdown]
# ## Exercise 1.1
#
# "a magenta triangle moving up" is held out. Write another such prompt: training shows each of its words, but never the
# three together. `seen` is a list of what is shown. (`hint("1.1")` and `solution("1.1")` help.)


# %%
@exercise("1.1")
def never_shown(): ...


# %% [markdown]
# ## Who says whether a video is right?
#
# A *judge* reads the three facts (shape, colour, motion) back from the pixels. It is geometry, nothing in it is
# learned, and lesson 02 opens it. These lines compare what was asked with the things seen:

# %%
show_source(facts_right)
print("asked:", captions[0], "  seen:", judge(clips[0])[0].triple)

# %% [markdown]
# The last of the four is what counts: all three facts are right, and there is nothing else. The share of videos for
# which it is true is the model's *adherence*: does it do as it is told?
#
# ## Exercise 1.2
#
# Measure that, for sentences. `prompts` is a list of B sentences, `videos` is uint8 (B, T, H, W, 3); return the share
# of videos in which the judge sees what the prompt says and nothing else. `read_caption(sentence)` gives a list of
# (shape, colour, motion), one for each thing that a sentence speaks of.


# %%
@exercise("1.2")
def said_and_seen(prompts, videos): ...


# %% [markdown]
# ## Open the box
#
# What is trained is a *denoiser*: a network that is shown a clip mixed with noise, and the caption, and answers with
# what it takes for the clip. This is all that one step of training computes:

# %%
show_source(DenoiserStage.loss)

# %% [markdown]
# Clips `x`; `noise` of the same size; for each clip a random time `t`, from hardly any noise to hardly anything else;
# captions, a tenth of them emptied (lesson 08 says why). `model(...)` mixes, asks the network, and returns the *loss*:
# how far the answer is from the clip, squared. (Latents, signals and `self.texts` are for other runs.) The *optimiser*
# changes the weights a little so that the loss falls, 800 times, with 32 clips each time.
#
# To make a video, the trained model starts from noise alone and takes 12 steps, each only part of the way to its own
# answer. The first answer is a blur, and with every step there is more to go by.
#
# ## Predict
#
# Every caption names a shape, a colour and a direction. Which of them does the model obey first, and which last?

# %%
guess = ["shape", "colour", "motion"]  # your guess: the first one first

# %% [markdown]
# ## Train
#
# Every 100 steps the loop stops and calls `observe`. The judge then reads videos of 48 prompts that training shows. One
# video of a held-out prompt is kept, always from the same noise. This takes minutes; read on meanwhile. Where the model
# is there already, nothing is trained again. If you stop it, run it again: it goes on where it was.

# %%
asked = balanced(seen, 48, seed=0)  # each shape, colour and motion as often as the others
kept = "a magenta triangle moving up"


def observe(step, model):
    prompts = [prompt(*triple) for triple in asked]
    *videos, last = to_frames(model.generate([*prompts, kept], seeds=list(range(49))))
    facts = np.mean([facts_right(triple, judge(frames)) for triple, frames in zip(asked, videos, strict=True)], axis=0)
    with (FIRST_LIGHT / "facts.jsonl").open("a", encoding="utf-8") as lines:
        print(json.dumps([step, *facts]), file=lines)
    np.save(FIRST_LIGHT / f"kept-{step}.npy", last)


settings = DenoiserSettings(out=str(FIRST_LIGHT), sample_every=100)
found = how_far(FIRST_LIGHT, range(100, settings.steps + 1, 100))
if found == "done":
    print(f"found the trained model in {FIRST_LIGHT}; delete the folder to train it again")
else:
    settings.resume = settings.out if found == "begun" else None
    train(settings, observe)
    assert (FIRST_LIGHT / "adherence.json").exists(), "it was stopped: run this again, and it goes on"

# %% [markdown]
# ## A video appears
#
# The kept prompt, at four steps. The network cuts a clip into *patches*, blocks of 2 frames × 8 × 8 pixels.

# %%
steps = (100, 200, 300, 800)
film([np.load(FIRST_LIGHT / f"kept-{step}.npy") for step in steps], [f"step {step}" for step in steps], "01-learning")

# %% [markdown]
# First single patches have the colour, but do not agree on where the thing is. Then there is a spot, then a spot that
# moves, and at last it has corners.
#
# ## Measure
#
# Here is what the judge read in the 48 other videos. The dotted lines are luck: of guessed shapes, one in three would
# be right. The curves may begin below, since the judge can also say "unclear".

# %%
rows = map(json.loads, (FIRST_LIGHT / "facts.jsonl").read_text(encoding="utf-8").splitlines())
history = {step: {"shape": shape, "colour": colour, "motion": motion} for step, shape, colour, motion, _ in rows}
figure, axis = plt.subplots(figsize=(5.5, 3))
for fact, paint, luck in (("colour", "tab:red", 1 / 6), ("motion", "tab:blue", 1 / 4), ("shape", "tab:green", 1 / 3)):
    axis.plot(history.keys(), [facts[fact] for facts in history.values()], "o-", color=paint, label=fact)
    axis.axhline(luck, color=paint, linestyle=":", linewidth=1)
axis.set(xlabel="step of training", ylabel="share of videos that are right", ylim=(-0.03, 1.03))
axis.legend(loc="lower right")
show(figure, "01-facts")

# %%
print("your guess:", ", ".join(guess))
early, middle = history[100], history[300]
claim(early["colour"] > 0.8 and max(early["motion"], early["shape"]) < 0.35, "colour comes first, alone", **early)
claim(middle["motion"] > middle["shape"] + 0.05, "then motion, and shape is last", **middle)

# %% [markdown]
# ## Why in this order?
#
# All three words stand in every caption, so it is not a matter of how often they are said. Look at the loss instead. Of
# all answers, the *average* has the smallest squared error, so a network that cannot tell more yet does best to answer
# with the average of what its clip could be. Here is the average of many clips of one prompt, for three prompts.
# Nothing is learned in it.


# %%
def average(triple, count=32):
    rng = np.random.default_rng(0)
    clips = [draw(random_scene(rng, world, triple=triple), frames=8, side=32) for _ in range(count)]
    return np.mean(clips, axis=0).round().astype(np.uint8)


averages = {triple: average(triple) for triple in seen}
show(sheet([averages[triple] for triple in seen[:60:20]], [prompt(*triple) for triple in seen[:60:20]]), "01-averages")
shape, colour, motion, _ = np.mean([facts_right(triple, judge(clip)) for triple, clip in averages.items()], axis=0)
claim(min(colour, motion) > 0.8, "the average clip has the colour and the motion", colour=colour, motion=motion)
claim(shape < 0.2, "and no shape", shape=shape)

# %% [markdown]
# This is a reason for shape to be last: it is not in the average at all, and has to be learned from details. It is no
# reason for colour to come before motion. The film shows one: each patch can have the right colour by itself, but for a
# thing to move, patches must agree. Lesson 06 shows how they come to know of each other, and the average comes back in
# lesson 08.
#
# ## Does it do as it is told?
#
# At its end, training asked for 128 videos of prompts that it shows and 128 of held-out ones. The judge said:

# %%
result = json.loads((FIRST_LIGHT / "adherence.json").read_text(encoding="utf-8"))
claim(result["seen"]["all"]["accuracy"] > 0.9, "it does as it is told", adherence=result["seen"]["all"]["accuracy"])
unseen = result["held-out"]["all"]["accuracy"]
claim(unseen > 0.8, "also where training never showed it", adherence=unseen)
claim(result["diversity"]["size"] < 0.8, "but it varies sizes less than real clips do", **result["diversity"])
model = TextToVideo.from_pretrained(FIRST_LIGHT)

# %% [markdown]
# The last line is how much videos of one prompt differ from each other, divided by how much real clips do: 1 is ideal.
# A model that always draws the same video has a perfect adherence, so one number is never enough.
#
# ## Exercise 1.3
#
# `generate(prompts, seeds)` makes B videos at a time, float (B, 3, T, H, W). A *seed* is a number from which noise is
# drawn. A result that others can repeat must depend on its own prompt and seed, and not on the other prompts of the
# *batch*, which are made beside it. Write a test of that: True for a generator that keeps a video to itself, False for
# one that does not. Then try it on the real one: `keeps_to_itself(lambda prompts, seeds: model.generate(prompts,
# seeds=seeds))`.


# %%
@exercise("1.3")
def keeps_to_itself(generate): ...


# %% [markdown]
# ## Where it ends
#
# Two prompts that no training clip resembles: one with a word that the model never saw, and one that speaks of two
# things, while every training clip shows one.

# %%
word, two = "a purple circle moving down", "a red circle moving right and a blue square moving left"
print("words that it never saw:", unknown_words(model.text.tokenizer, word))
videos = to_frames(model.generate([word] + [two] * 8, seeds=list(range(9))))
show(sheet(list(videos[:2]), [word, two]), "01-end")
both = np.mean([{thing.triple for thing in judge(frames)} == {*read_caption(two)} for frames in videos[1:]])
claim(both < 0.2, "it cannot draw two things", share_right=both)

# %% [markdown]
# It puts known facts together in new ways. It knows no others, and it does not know that it does not: it draws
# something all the same.
#
# ## Prompts of your own
#
# Now ask for what you like. Training never shows the second one. Put yours of exercise 1.1 in the place of another, and
# change the seeds.

# %%
wishes = [
    "a red circle moving right",
    "a magenta triangle moving up",
    "a green square moving left",
    "a yellow circle moving down",
]
film(list(to_frames(model.generate(wishes, seeds=[1, 2, 3, 4]))), wishes, "01-wishes")

# %% [markdown]
# ## What is still missing
#
# The world is small: one shape, 32 pixels, eight frames, few words. It is so small that the network works on pixels;
# large models first make fewer numbers of them, the *latents*. The other parts are the same, and each has a lesson:
#
#     footage → clips → captions → latents → noise, loss → network → training
#               03      04         05        07            06        09
#     prompt  → from noise, step by step → video → judge
#               08                                 02
#     the other way: a video as a text of codes      10
#
# All of this rests on a judge that is right. How do you know that a video shows what its caption says? That is next.
