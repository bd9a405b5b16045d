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
from lite_sora.toy.judge import judge
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import SHAPES, Corner, draw, random_scene

rng = np.random.default_rng(3)
folder = own_folder("03")


def shoot(frames=24, colours=("green", "blue", "yellow", "cyan", "magenta"), ground="gray"):
    """A shot of one thing that moves left or right: uint8 (frames, 128, 128, 3), 12 a second; and its caption."""
    triple = tuple(str(rng.choice(words)) for words in (SHAPES, colours, ("left", "right")))
    scene = random_scene(rng, Corner(("left", "right"), ("small", "medium"), (ground,)), triple=triple)
    return draw(scene, frames, side=128), captions(scene)[0]


def small(frames):
    """Frames of a half or a whole of 128 pixels, at 64 pixels."""
    factor = frames.shape[1] // 64
    return frames.reshape(-1, 64, factor, 64, factor, 3).mean((2, 4)).astype(np.uint8)


# %% [markdown]
# ## Look first
#
# A *shot* is what a camera takes between on and off. A *good* file here is one shot of two seconds. Some faults are
# copies of good files. One is *smaller*, and will be compressed harder. One is *mirrored*. And one starts a second
# *later* than the good file, so that they share one second. All copies keep the caption, as uploads do.

# %%
raw = {}  # a file's name → its frames and its caption
for i in range(8):
    long, caption = shoot(36)
    raw[f"good-{i}"] = long[:24], caption
    if i < 4:
        raw[f"smaller-{i}"] = small(long[:24]), caption
        raw[f"mirrored-{i}"] = long[:24, :, ::-1], caption
        raw[f"later-{i}"] = long[12:], caption

# %% [markdown]
# The others are shots of their own. A *cut* joins two shots. A *jump* cut takes a piece out of one shot. *Text* is laid
# over the picture, *bars* are black and cover its edges, and *frozen* is one frame all the time. Two good files look
# odd: a *red* thing on gray. And one file is *broken* off, like a download that stopped.
#
# All are written to mp4 files, with a *manifest*: a file with one line for each clip, which says where the clip is and
# what it is said to show.

# %%
for i in range(4):
    (one, caption), (other, _) = shoot(), shoot(ground="white")
    raw[f"cut-{i}"] = np.concatenate([one, other]), caption
    long, caption = shoot(60)
    raw[f"jump-{i}"] = np.concatenate([long[:20], long[36:]]), caption
    words, size = [("BREAKING NEWS", 12), ("12:07", 9)][i % 2]
    layer = Image.new("1", (128, 128))
    ImageDraw.Draw(layer).text((6, 108), words, 1, font_size=size)
    raw[f"text-{i}"] = shoot()
    raw[f"text-{i}"][0][:, np.asarray(layer)] = 255
for i in range(2):
    raw[f"frozen-{i}"], raw[f"bars-{i}"], raw[f"red-{i}"] = shoot(), shoot(), shoot(colours=("red",))
    raw[f"frozen-{i}"][0][1:] = raw[f"frozen-{i}"][0][0]
    raw[f"bars-{i}"][0][:, [*range(16), *range(112, 128)]] = 0
raw["broken-0"] = shoot()

for name, (frames, _) in raw.items():
    write_video(folder / f"{name}.mp4", frames, fps=12, quality=26 if "smaller" in name else 14)  # higher is coarser
broken = folder / "broken-0.mp4"
broken.write_bytes(broken.read_bytes()[:-2000])
write_manifest(folder / "raw.jsonl", (Clip(name, f"{name}.mp4", caption) for name, (_, caption) in raw.items()))

kinds = list(dict.fromkeys(name.split("-")[0] for name in raw))
rows = [small(raw[f"{kind}-0"][0]) for kind in kinds[:-1]]
rows = [frames[np.linspace(0, len(frames) - 1, 9).astype(int)] for frames in rows]
show(sheet(rows, kinds[:-1]), "03-raw")

# %% [markdown]
# ## Open the box: where does a shot end?
#
# At a cut, the whole picture changes from one frame to the next. The *content score* says how much: it is the mean
# change of hue, saturation and brightness, pixel by pixel, as in the tool PySceneDetect.

# %%
show_source(splitting.content_scores)

# %%
cut, jump = ([splitting.content_scores(raw[f"{kind}-{i}"][0]) for i in range(4)] for kind in ("cut", "jump"))
axes = Figure(figsize=(6.4, 2.6)).add_subplot(xlabel="frame", ylabel="content score")
axes.plot(range(1, len(cut[0]) + 1), cut[0], ".-", label="cut-0")
axes.plot(range(1, len(jump[0]) + 1), jump[0], ".-", label="jump-0")
axes.axhline(27, color="0.5", linestyle="--", label="the usual threshold: 27")
axes.legend()
show(axes.figure, "03-scores")
lowest, highest = min(scores.max() for scores in cut), max(scores.max() for scores in jump)
claim(lowest > 1.5 * 27, "a cut to another background is far above the threshold", lowest=lowest)
claim(highest < 0.9 * 27, "a jump cut stays below it", highest=highest)

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
# the number is beyond a limit:

# %%
show_source(operators.reason_to_drop)

# %% [markdown]
# This recipe has the package's default limits, which were chosen for real footage.

# %%
RECIPE = """
- integrity         # can all of it be decoded?
- split_by_scene    # one clip becomes several
- border_crop       # where is the picture inside black bars?
- motion            # the mean speed of blocks of pixels
- text_area         # the share of the picture under lines of text
- near_duplicates   # is it a copy of another clip?
"""


def run(recipe, name):
    """Curates the footage: {kind: [its clips, also those that were dropped, with the reason in their stats]}."""
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
# There are twelve copies: four smaller ones, four mirrored ones, four that start later. How many does the recipe find?

# %%
guess = 6  # your guess, from 0 to 12

# %% [markdown]
# ## Measure

# %%
clips = run(RECIPE, "default")
for kind in kinds:
    reasons = [clip.stats["dropped"] for clip in clips[kind] if "dropped" in clip.stats]
    print(f"{kind:8} kept {kept(clips[kind])}, dropped {len(reasons)}", f"({reasons[0]})" if reasons else "")

found = {kind: 4 - kept(clips[kind]) for kind in ("smaller", "mirrored", "later")}
print(f"your guess: {guess} of 12 copies; found: {sum(found.values())}")
claim(found["smaller"] == 4, "smaller copies are all found", found=found["smaller"])
claim(found["mirrored"] + found["later"] == 0, "mirrored and later ones are all missed", **found)

# %% [markdown]
# The two files with bars are kept, together with where the picture is; training reads only that part. The missed copies
# do harm. The model sees these shots more often than others. And a mirrored copy says something false, since it kept
# the caption. The *judge* of lesson 02 reads the motion from the frames alone:

# %%
false = sum(judge(raw[f"mirrored-{i}"][0])[0].motion not in raw[f"mirrored-{i}"][1] for i in range(4))
claim(false == 4, "every mirrored copy moves the other way than its caption says", false=false)

# %% [markdown]
# ## Open the box: when are two clips the same?
#
# Comparing pixels would be slow, and harder compression changes all of them. So a frame is reduced to 64 bits, its
# *perceptual hash*. A frame can be written as a sum of waves, from slow to fast ones, each with a weight (the cosine
# transform). A bit says whether the weight of one of the 8 × 8 slowest waves is above the median, which is near zero.
# Two clips are the same if the hashes of their frames differ by at most 6 bits on average, and their mean colours
# hardly.

# %%
show_source(duplicates.perceptual_hash)
print("the 16 digits of a frame's 64 bits:", clips["good"][0].stats["near_duplicates"][0][:16])


# %%
def bits(one, other):
    """How many of 64 bits differ between two clips, on average over 8 frames, by what is stored about them."""
    pairs = zip(one.stats["near_duplicates"], other.stats["near_duplicates"], strict=True)
    return np.mean([(int(a[:16], 16) ^ int(b[:16], 16)).bit_count() for a, b in pairs])


good = clips["good"]
apart = {"strangers": [bits(good[i], good[j]) for i in range(8) for j in range(i)]}
apart |= {kind: [bits(good[i], clips[kind][i]) for i in range(4)] for kind in ("later", "mirrored", "smaller")}
axes = Figure(figsize=(6.4, 2)).add_subplot(xlabel="bits that differ, of 64", xlim=(-1, 65))
for row, values in enumerate(apart.values()):
    axes.plot(values, [row] * len(values), "o", alpha=0.6)
axes.set_yticks(range(4), apart)
axes.axvline(6, color="0.5", linestyle="--")
show(axes.figure, "03-bits")
claim(max(apart["smaller"]) < 5, "a smaller copy flips few bits", most=max(apart["smaller"]))
claim(min(apart["later"]) > 12, "a later one flips many", least=min(apart["later"]))
half = np.mean(apart["mirrored"])
claim(abs(half - 32) < 4, "a mirrored one flips about half of all", mean=half)

# %% [markdown]
# A mirror image is a sum of the same waves. But where a wave has an odd number of half periods from left to right, its
# crests come to lie where the troughs were: its weight changes its sign. These are columns 1, 3, 5 and 7 of the 8 × 8.
# So about half of the bits flip, whatever the film shows. That is no accident, and it can be undone.
#
# ## Exercise 3.2
#
# Return the hash of the mirrored frame, from the hash alone. `digits` are 16 hexadecimal digits: 8 bytes, one for each
# row of the 8 × 8. The bits of a byte are columns 0 to 7, from the left. Columns 1, 3, 5 and 7 flip.


# %%
@exercise("3.2")
def mirrored(digits): ...


# %% [markdown]
# ## Limits belong to a world
#
# Nothing is wrong with the red films, yet they were dropped as if they were frozen. Here is what was measured, with the
# default limits as lines.

# %%
axes = Figure(figsize=(6.4, 3)).add_subplot(xlabel="motion (diagonals a second)", ylabel="text_area", xscale="log")
for kind, colour in (("good", "C0"), ("red", "red"), ("frozen", "C4"), ("text", "black")):
    values = [(clip.stats["motion"], clip.stats["text_area"]) for clip in clips[kind]]
    axes.plot(*zip(*values, strict=True), "o", color=colour, alpha=0.6, label=kind)
axes.axvline(0.005, color="0.5", linestyle="--")
axes.axhline(0.015, color="0.5", linestyle="--")
axes.legend()
show(axes.figure, "03-limits")
red, still = (np.mean([clip.stats["motion"] for clip in clips[kind]]) for kind in ("red", "frozen"))
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
# Measuring is slow, since frames have to be decoded. So every number is stored beside the manifest, and limits are
# applied afterwards. Here are two new recipes. One lets copies differ in twice as many bits. The other cuts at a lower
# content score, which makes other pieces, and these have to be measured. (A file that is cut once makes two pieces.)


# %%
store = folder / "raw-stats" / "rank-0.jsonl"
before = store.read_bytes()
wider = run(RECIPE.replace("near_duplicates", "near_duplicates: {distance: 12}"), "wider")
claim(store.read_bytes() == before, "another limit measures nothing", kilobytes=len(before) / 1000)
finer = run(RECIPE.replace("split_by_scene", "split_by_scene: {threshold: 4}"), "finer")
after = len(store.read_bytes())
claim(after > 1.1 * len(before), "other pieces are measured", kilobytes=after / 1000)
copies = sum(kept(wider[kind]) for kind in found)
claim(copies == 8, "twice as many bits find no more copies", kept=copies)
good, jump, smaller = (kept(finer[kind]) for kind in ("good", "jump", "smaller"))
claim(good == 8 and jump >= 6, "a lower threshold cuts most jumps, and no good shot", good=good, jump_pieces=jump)
claim(smaller >= 1, "but now pieces of smaller copies are kept", pieces=smaller)

# %% [markdown]
# What the last line says was not intended. The hue of a gray pixel means nothing, and in a small, hard compressed file
# it flickers enough for a low threshold. So the copy is cut where its original is not. Its pieces begin at other times,
# and resemble nothing any more. Each step of a recipe changes what all later steps see.
#
# ## The picture
#
# Here is the first file of four kinds, with what the first recipe did with it.

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
