# %% [markdown]
# # 03 · From footage to clips
#
# **What is in raw footage that a model must not learn?**
#
# A video model learns whatever its clips show: also cuts, subtitles and black bars. A clip that is there many times is
# soon learnt by heart. So raw footage is first cut and sorted, which is called *curation*. Stable Video Diffusion
# ([2311.15127](https://arxiv.org/abs/2311.15127)) reports that less footage, well chosen, made the better model.
#
# In real footage nobody knows how many faults there are. Here you plant them yourself, so that you can count both: what
# is found, and what is missed. The lesson opens `lite_sora/curation/`. At the end you will have made a film of two
# faults that were found and two that came through.

# %%
import numpy as np
from exercises import claim, exercise, hint, show_source, solution  # noqa: F401  hint and solution are for you
from folders import own_folder
from matplotlib.figure import Figure
from pictures import film, show
from PIL import Image, ImageDraw

from lite_sora.curation import duplicates, operators, splitting
from lite_sora.curation.curate import curate
from lite_sora.curation.recipe import read_recipe
from lite_sora.data.clip import Clip, read_manifest, write_manifest
from lite_sora.data.preview import sheet
from lite_sora.data.video import write_video
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import SHAPES, Corner, draw, random_scene

rng = np.random.default_rng(3)
folder = own_folder("03")


def shoot(frames=24, colours=("green", "blue", "yellow", "cyan", "magenta"), ground="gray"):
    """A shot of one thing that moves left or right: uint8 (frames, 128, 128, 3), 12 a second; and its caption."""
    facts = rng.choice(SHAPES), rng.choice(colours), rng.choice(["left", "right"])
    scene = random_scene(rng, Corner(sizes=("small", "medium"), backgrounds=(ground,)), triple=facts)
    return draw(scene, frames, side=128), captions(scene)[0]


def small(frames):
    return np.array([Image.fromarray(frame).resize((64, 64), Image.Resampling.BOX) for frame in frames])


# %% [markdown]
# ## Look first
#
# A *shot* is what a camera takes between on and off. A *good* file here is one shot of two seconds. Three kinds of
# faults are copies of good files. One kind is *smaller*, and will be compressed harder. One is *mirrored*. And one
# starts a second *later* than the good file, so that they share one second. All copies keep the caption, as uploads do.

# %%
raw = {}  # a file's name → its frames and its caption
for i in range(6):
    long, caption = shoot(36)
    good = long[:24]
    raw[f"good-{i}"] = good, caption
    raw[f"smaller-{i}"] = small(good), caption
    raw[f"mirrored-{i}"] = good[:, :, ::-1], caption
    raw[f"later-{i}"] = long[12:], caption

# %% [markdown]
# The others are shots of their own. A *cut* joins two shots. A *jump* cut takes a piece out of one shot. *Text* is laid
# over the picture, and *frozen* is one frame all the time. The last files have no fault, but show what no other file
# shows: a *red* thing.
#
# All are written to mp4 files, with a *manifest*: a file with one line for each clip, which says where the clip is and
# what it is said to show.

# %%
for i in range(4):
    (one, caption), (other, _) = shoot(), shoot(ground="white")
    raw[f"cut-{i}"] = np.concatenate([one, other]), caption
    long, caption = shoot(60)
    raw[f"jump-{i}"] = np.concatenate([long[:20], long[36:]]), caption
    words, size = ("BREAKING NEWS", 12) if i < 2 else ("12:07", 9)
    letters = Image.new("1", (128, 128))  # a mask: true where a letter is
    ImageDraw.Draw(letters).text((6, 108), words, 1, font_size=size)
    frames, caption = shoot()
    frames[:, np.asarray(letters)] = 255
    raw[f"text-{i}"] = frames, caption
    frames, caption = shoot()
    raw[f"frozen-{i}"] = frames[:1].repeat(24, axis=0), caption
    raw[f"red-{i}"] = shoot(colours=["red"])

for name, (frames, _) in raw.items():
    write_video(folder / f"{name}.mp4", frames, fps=12, quality=26 if "smaller" in name else 14)  # higher is coarser
write_manifest(folder / "raw.jsonl", (Clip(name, f"{name}.mp4", caption) for name, (_, caption) in raw.items()))

kinds = ["good", "smaller", "mirrored", "later", "cut", "jump", "text", "frozen", "red"]
show(sheet([small(raw[f"{kind}-0"][0][::6]) for kind in kinds], kinds), "03-raw")  # two frames a second

# %% [markdown]
# ## Open the box: where does a shot end?
#
# At a cut, the whole picture changes from one frame to the next. The *content score* says how much: it is the mean
# change of hue, saturation and brightness, pixel by pixel, as in the tool PySceneDetect.

# %%
show_source(splitting.content_scores)

# %%
cut = splitting.content_scores(raw["cut-0"][0])
jump = splitting.content_scores(raw["jump-0"][0])
axes = Figure(figsize=(6.4, 2.6)).add_subplot(xlabel="frame", ylabel="content score")
axes.plot(range(1, len(cut) + 1), cut, ".-", label="cut-0")
axes.plot(range(1, len(jump) + 1), jump, ".-", label="jump-0")
axes.axhline(27, color="0.5", linestyle="--", label="the usual threshold: 27")
axes.legend()
show(axes.figure, "03-scores")
claim(cut.max() > 1.5 * 27, "a cut to another background is far above the threshold", highest=cut.max())
claim(jump.max() < 0.9 * 27, "a jump cut stays below it", highest=jump.max())

# %% [markdown]
# The score is a mean over the picture, and at a jump cut only a small part of the picture changes. In this quiet world
# the jump stands out all the same, and a lower threshold would find it. Where a camera pans, every frame changes as
# much, and that threshold would cut everywhere.
#
# ## Exercise 3.1
#
# From scores to cuts. `scores` (T - 1,) compare frame 1 with frame 0, frame 2 with frame 1, and so on. Return the list
# of frames at which a new shot begins: those whose score is at least `threshold`. But a shot has at least `min_frames`
# frames: leave out a cut that comes sooner after the last one that you kept, or after frame 0. For scores 1, 30, 2, 40
# and a threshold of 27, the cuts are [2, 4] where `min_frames` is 2, and [4] where it is 3.


# %%
@exercise("3.1")
def cuts(scores, threshold, min_frames): ...


# %% [markdown]
# ## Measure first, then choose
#
# A *recipe* is a list of operators. Some cut clips into pieces. The others measure something of a clip, and drop it if
# the number is beyond a limit. (`border_crop`, which finds black bars, measures a box; the limit is for its area.)

# %%
show_source(operators.reason_to_drop)

# %% [markdown]
# This recipe has the package's default limits, which were chosen for real footage. Comments say what they are.

# %%
RECIPE = """
- split_by_scene    # cuts one clip into several, at a content score of 27
- motion            # the mean speed of blocks of pixels: at least 0.005 diagonals of the picture a second
- text_area         # the share of the picture under lines of text: at most 0.015
- near_duplicates   # is it a copy of another clip?
"""


def run(recipe, name):
    """Curates the footage: {kind: [its clips]}. Dropped ones are among them, with the reason as stats["dropped"]."""
    path, out = folder / f"{name}.yaml", folder / f"{name}.jsonl"
    path.write_text(recipe, encoding="utf-8")
    selection = curate(read_recipe(str(path)), folder / "raw.jsonl", out, workers=0, show=False)
    clips = sorted([*selection.kept, *read_manifest(selection.dropped)], key=lambda clip: clip.id)
    return {kind: [clip for clip in clips if clip.id.startswith(kind)] for kind in kinds}


def kept(clips):
    return sum("dropped" not in clip.stats for clip in clips)


# %% [markdown]
# ## Predict
#
# There are 18 copies: six smaller ones, six mirrored ones, six that start later. How many does the recipe find?

# %%
guess = 9  # your guess, from 0 to 18

# %% [markdown]
# ## Measure

# %%
clips = run(RECIPE, "default")
for kind, each in clips.items():
    print(f"{kind:8} kept {kept(each)} of {len(each)}. The first: {each[0].stats.get('dropped', 'kept')}")

found = {kind: 6 - kept(clips[kind]) for kind in ("smaller", "mirrored", "later")}
print(f"your guess: {guess} of 18 copies; found: {sum(found.values())}")
claim(found["smaller"] >= 5, "smaller copies are nearly all found", found=found["smaller"])
claim(found["mirrored"] == found["later"] == 0, "mirrored and later ones are all missed", **found)

# %% [markdown]
# Each file with a cut has become two clips. The missed copies do harm: the model sees these shots more often than
# others. And a mirrored copy says something false, since it kept the caption: what moved left now moves right.
#
# ## Open the box: when are two clips the same?
#
# Comparing pixels would be slow, and harder compression changes all of them. So a frame is reduced to 64 bits, its
# *perceptual hash*. A frame can be written as a sum of waves, from slow to fast ones, each with a weight (the cosine
# transform). A bit says whether the weight of one of the 8 × 8 slowest waves is above the median, which is near zero.
# Of each clip 8 frames are hashed, and compared in order: first with first, last with last. Two clips are the same if
# at most 6 bits differ on average, and their mean colours hardly differ.

# %%
show_source(duplicates.perceptual_hash)
print("the 16 digits of a frame's 64 bits:", clips["good"][0].stats["near_duplicates"][0][:16])


# %%
def hashes(clip):  # of its 8 frames, as whole numbers of 64 bits
    return [int(digits[:16], 16) for digits in clip.stats["near_duplicates"]]


def bits(one, other):
    """How many bits differ between two clips, on average over their frames. (a ^ b has a 1 where a and b differ.)"""
    return np.mean([(a ^ b).bit_count() for a, b in zip(hashes(one), hashes(other), strict=True)])


good = clips["good"]
apart = {"strangers": [bits(good[i], good[j]) for i in range(6) for j in range(i)]}
for kind in ("later", "mirrored", "smaller"):
    apart[kind] = [bits(good[i], clips[kind][i]) for i in range(6)]
axes = Figure(figsize=(6.4, 2)).add_subplot(xlabel="bits that differ (dashed: the limit)", xlim=(-1, 64), ymargin=0.2)
for kind, values in apart.items():
    axes.plot(values, [kind] * len(values), "o", alpha=0.6)
axes.axvline(6, color="0.5", linestyle="--")
show(axes.figure, "03-bits")
claim(np.median(apart["smaller"]) < 4, "a smaller copy flips few bits", median=np.median(apart["smaller"]))
claim(min(apart["later"]) > 12, "a later one flips many", least=min(apart["later"]))
half = np.mean(apart["mirrored"])
claim(abs(half - 32) < 4, "a mirrored one flips about half of all", mean=half)

# %% [markdown]
# In a later copy, each frame is compared with one from a second earlier: the thing is elsewhere, and many bits differ.
#
# A mirror image is a sum of the same waves. In the 8 × 8, a wave's column says how many half periods it has from left
# to right. Where the number is odd, its crests come to lie where the troughs were: its weight changes its sign. So the
# bits of columns 1, 3, 5 and 7 flip, half of all, whatever the film shows. That is no accident, and it can be undone.
#
# ## Exercise 3.2
#
# Return the hash of the mirrored frame, from the hash alone. `digits` is a string of 16 hexadecimal digits, and so is
# what you return. Two digits are a byte, and each of the 8 bytes is a row of the 8 × 8. The bits of a byte, from the
# left, are columns 0 to 7. Columns 1, 3, 5 and 7 flip. (`hint("3.2")` helps.)


# %%
@exercise("3.2")
def mirrored(digits): ...


# %% [markdown]
# ## Limits belong to a world
#
# Nothing is wrong with the red films, yet they were dropped as if they were frozen. Here is what was measured, with the
# default limits as lines.


# %%
def measured(kind, operator):
    return [clip.stats[operator] for clip in clips[kind]]


axes = Figure(figsize=(6.4, 3)).add_subplot(xlabel="motion (diagonals a second)", ylabel="text_area", xscale="log")
for kind, colour in (("good", "C0"), ("red", "red"), ("frozen", "C4"), ("text", "black")):
    axes.plot(measured(kind, "motion"), measured(kind, "text_area"), "o", color=colour, alpha=0.6, label=kind)
axes.axvline(0.005, color="0.5", linestyle="--")
axes.axhline(0.015, color="0.5", linestyle="--")
axes.legend()
show(axes.figure, "03-limits")
red, still = np.mean(measured("red", "motion")), np.mean(measured("frozen", "motion"))
claim(kept(clips["red"]) == 0 and red > 10 * still, "films that move are dropped as frozen", red=red, frozen=still)
claim(kept(clips["text"]) == 2, "films with a little text are kept", kept=kept(clips["text"]))

# %% [markdown]
# `motion` looks at brightness alone, and this red is nearly as bright as this gray. The time of day covers less than a
# subtitle does. No limit is right for all footage: look at the numbers of your own before you choose.
#
# ## Exercise 3.3
#
# Read two limits off the picture, and return them: the least motion, and the most text area. They are tried on new
# footage of this world, and must drop all that is frozen or has text, and nothing else.


# %%
@exercise("3.3")
def limits(): ...


# %% [markdown]
# ## Another limit costs nothing
#
# Measuring is slow, since frames have to be decoded. So every number is stored in a file beside the manifest, and
# limits are applied afterwards. This recipe lets copies differ in twice as many bits.

# %%
store = folder / "raw-stats" / "rank-0.jsonl"
size = store.stat().st_size  # in bytes
wider = run(RECIPE.replace("near_duplicates", "near_duplicates: {distance: 12}"), "wider")
claim(store.stat().st_size == size, "another limit measures nothing", bytes_before=size, bytes=store.stat().st_size)
claim(kept(wider["mirrored"]) + kept(wider["later"]) == 12, "twice as many bits find no more copies", bits=12)

# %% [markdown]
# Another threshold for cuts is another matter: it makes other pieces, and these have to be measured. A lower one should
# find the jump cuts, and make two pieces of each file.

# %%
finer = run(RECIPE.replace("split_by_scene", "split_by_scene: {threshold: 4}"), "finer")
claim(store.stat().st_size > 1.1 * size, "other pieces are measured", bytes_before=size, bytes=store.stat().st_size)
claim(kept(finer["jump"]) >= 6, "a lower threshold cuts most jumps", pieces=kept(finer["jump"]))
claim(kept(finer["smaller"]) >= 1, "but now pieces of smaller copies are kept", pieces=kept(finer["smaller"]))

# %% [markdown]
# What the last line says was not intended. The hue of a gray pixel means nothing, and in a small, strongly compressed
# file it flickers enough for a low threshold. So the copy is cut where its original is not. Its pieces begin at other
# times, and resemble nothing any more. Each step of a recipe changes what all later steps see.
#
# ## The picture
#
# Here is the first file of four kinds, with what the first recipe did with it: a film with text, and a smaller, a later
# and a mirrored copy of one shot. Look which way the last one moves, and what its caption says.

# %%
chosen = [clips[kind][0] for kind in ("text", "smaller", "later", "mirrored")]
labels = [clip.stats.get("dropped", f"kept: {clip.caption}") for clip in chosen]
film([small(raw[clip.id][0][::3]) for clip in chosen], labels, "03-footage", milliseconds=250)

# %% [markdown]
# ## What is still missing
#
# Later copies have to be compared at shifted times, which this package does not do. Slow dissolves between shots are
# missed as well. Whether a film is ugly, or says what its caption says, no arithmetic on pixels can tell: there the
# recipes of real models use trained networks (the operators `aesthetics` and `text_similarity`). And each filter also
# decides what is rare: this one knew no red on gray. Next: the clips are clean, but is it better to have more videos or
# better captions?
