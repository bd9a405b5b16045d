# %% [markdown]
# # 09 · The loop
#
# **What stands between a loss and a model?**
#
# Lesson 07 ends with a loss, and lesson 08 begins with a trained model. Between them stands a loop. It is short, and
# nearly each of its lines keeps a promise: a batch may be larger than the memory; a strong direction does not drown the
# weak ones; a stop costs nothing; two processes learn what one does; and what you sample from is better than what was
# trained last. This lesson puts the promises to the test.
#
# It opens `lite_sora/training/loop.py`, `muon.py`, `lite_sora/data/loading.py` and `lite_sora/storage/checkpoint.py`.
# At the end you will have filmed the weights themselves: one frame, drawn anew after each of twelve steps of training.

# %%
import io
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from checks_09 import SmallLoop
from exercises import ROOT, claim, exercise, hint, show_source, solution  # noqa: F401  hint and solution are for you
from folders import own_folder, toy_run
from pictures import film, show
from PIL import Image

from lite_sora.data.loading import TrainingOrder, to_frames
from lite_sora.evaluation.x0_error import x0_error
from lite_sora.pipeline import TextToVideo
from lite_sora.storage.checkpoint import load_state, save_checkpoint, save_state
from lite_sora.training.denoiser import DenoiserStage
from lite_sora.training.flags import parse
from lite_sora.training.loop import run, update_average
from lite_sora.training.metrics import read_lines
from lite_sora.training.muon import orthogonalize
from lite_sora.training.parts import DenoiserSettings

# %% [markdown]
# ## Look first
#
# This is what the training of lesson 01 wrote about itself. (Where there is no trained model, it is trained now.)

# %%
trained = toy_run()
show(Image.open(trained / "curves.png"), "09-curves")

# %% [markdown]
# The grey loss jumps about from step to step: each step sees other clips, at other times t, with other noise. The
# *learning rate*, which says how far a step goes, rises, stays, and falls to zero. What that fall is for, you will
# see at the end.
#
# ## Exercise 9.1
#
# A batch may be too large for the memory. Then it is cut into pieces, one piece after another is computed, and the
# gradients of all pieces add up (*accumulation*). The step must be the one that the whole batch would have taken, whose
# loss is the mean over its clips. What is the loss of a piece? `losses` holds the loss of each clip of this piece,
# `pieces` is the number of pieces, and `batch` the number of clips in the whole batch. The last piece may be smaller.


# %%
@exercise("9.1")
def piece_loss(losses, pieces, batch): ...


# %% [markdown]
# ## Open the box
#
# A *stage* is a thing that can be trained: a denoiser, an autoencoder, a captioner. It says what its data, its model
# and its loss are. One loop trains them all, and this is one step of it. Find your line.

# %%
show_source(run, "outputs, pieces", "zero_grad")

# %% [markdown]
# After the pieces, all processes exchange their losses, so that they take the same decisions. A gradient that is too
# long is shortened (`clip_grad_norm_`). Where a loss or the gradient is infinite, or not a number at all, the step is
# left out. Otherwise the optimisers move the weights. `update_average` comes last.
#
# ## In which direction?
#
# A step does not follow the gradient of one batch, but *momentum*, a running mean of the last gradients. For a weight
# matrix, momentum is a matrix too. It can be written as a sum of *directions*, each with a strength: its singular
# vectors and values (`torch.linalg.svd`). The squares of the strengths add up to the matrix's energy.
#
# The toy model's large matrices have 128 directions each. How many of the 128 hold nine tenths of the energy?

# %%
guess = 64  # your guess, from 1 to 128

# %% [markdown]
# ## Measure
#
# The run of lesson 01 has left the last momentum of each matrix in `state.pt`. *Muon*, the optimiser of this package
# for matrices (scaled as in [2502.16982](https://arxiv.org/abs/2502.16982)), sets all strengths to about 1, and keeps
# the directions.


# %%
def directions(matrix: torch.Tensor, share: float = 0.9) -> int:
    """How many directions hold this share of the energy, the strongest first."""
    energy = torch.linalg.svdvals(matrix).square()
    return int((energy.cumsum(0) < share * energy.sum()).sum()) + 1


muon_state = load_state(trained)["optimizers"][1]["state"]  # the first is AdamW, which has all other weights
momenta = [saved["momentum"] for saved in muon_state.values()]
updates = [orthogonalize(momentum[None])[0] for momentum in momenta]
before, after = (float(np.mean([directions(each) for each in matrices])) for matrices in (momenta, updates))
print(f"your guess: {guess}; momentum: {before:.1f}; after Muon: {after:.1f}, the mean of {len(momenta)} matrices")
claim(before < 20, "a few directions hold nearly all of the momentum", directions=before)
claim(after > 60, "after Muon, most directions count", directions=after)

# %%
figure, axes = plt.subplots(figsize=(6, 3))
for matrix, label in ((momenta[1], "momentum"), (updates[1], "what Muon makes of it")):
    strengths = torch.linalg.svdvals(matrix)
    axes.plot(range(1, len(strengths) + 1), strengths / strengths[0], label=label)
axes.set(xlabel="direction, the strongest first", ylabel="strength (the strongest is 1)", ylim=0)
axes.legend(title="a matrix of the first block's attention", loc=(0.2, 0.15))
show(figure, "09-directions")

# %% [markdown]
# With plain momentum, a step moves the weights along a handful of directions, and hardly at all along the others.
#
# ## Exercise 9.2
#
# Set all singular values of a matrix to 1 without computing them. Divide the matrix by its norm, so that none is above
# 1. Then, `steps` times, replace x by 1.5 x - 0.5 x xᵀ x, in matrix products (*Newton-Schulz*). This takes each
# singular value s to 1.5 s - 0.5 s³, and leaves the directions as they are: small values grow, and 1 stays 1.


# %%
@exercise("9.2")
def orthogonal(matrix, steps): ...


# %% [markdown]
# The package takes a higher power, whose numbers were chosen for speed: five steps bring most values near 1, none
# exactly there, and leave the smallest below.

# %%
show_source(orthogonalize, "x = x /", "return")

# %% [markdown]
# Does it pay? Here are three short trainings: one with Muon for matrices and *AdamW* for the rest (AdamW scales each
# weight's step by itself), and two with AdamW alone, at two rates.


# %%
def learn(*flags: str, kind: type = DenoiserStage) -> Path:
    """`python train.py FLAGS`, without what it prints; returns the run's folder."""
    with redirect_stdout(io.StringIO()):
        return run(kind, parse(DenoiserSettings, list(flags), "lesson 09"))


def last_loss(folder: Path) -> float:
    return float(np.mean([line["loss"] for line in read_lines(folder / "metrics.jsonl")[-20:]]))


folder = own_folder("09")
FLAGS = ["--toy-clips=256", "--batch-size=8", "--steps=60", "--warmup=10", "--sample-every=0", "--adherence-clips=0"]
FLAGS += ["--precision=fp32", "--device=cpu"]
LONGER = [*FLAGS, "--steps=120"]
muon = last_loss(learn(*LONGER, f"--out={folder}/muon"))
rates = 0.007, 0.005  # the package's own, and for AdamW alone the best of those that were tried
others = [learn(*LONGER, f"--out={folder}/{lr}", "--optimizer=adamw", f"--lr={lr}") for lr in rates]
adamw = min(last_loss(other) for other in others)
claim(muon < 0.93 * adamw, "Muon's loss is lower than AdamW's at the better rate", muon=muon, adamw=adamw)

# %% [markdown]
# So few steps, and two rates, are a hint, not a verdict.
#
# ## A stop
#
# Trainings are stopped: by a crash, by a bill, by Ctrl-C. Here somebody presses Ctrl-C in the 40th of 60 steps, and
# resumes later. How far will the weights be from those of the run that never stopped?

# %%
guess = "a little"  # or "far", or "not at all"
show_source(save_checkpoint)
show_source(TrainingOrder.__iter__)

# %% [markdown]
# A checkpoint holds the weights, their average, the step, and what the optimisers remember. The state of a random
# generator is not in it, and most trainers need one. Here none is needed: which clips a step sees, and the seed of all
# noise, follow from the run's seed and the number of the step.
#
# Two more runs resume from spoilt checkpoints. One has lost the optimisers' memory, the other the average, which begins
# again at the weights.


# %%
class Pressed(DenoiserStage):
    """A stage says what happens before a step; this one presses Ctrl-C."""

    def before_step(self, step, batch):
        if step == 39:
            signal.raise_signal(signal.SIGINT)


def apart(one: Path, two: Path, part: str) -> float:
    """The distance of two runs' weights, of their size; 0 where no bit differs."""
    one, two = (torch.cat([each.flatten() for each in load_state(run)[part].values()]) for run in (one, two))
    return float((one - two).norm() / one.norm())


def resumed(name: str, **spoilt) -> dict[str, float]:
    """How far a run ends from the one that never stopped, if this part of its checkpoint is replaced."""
    shutil.copytree(stopped, folder / name)
    save_state(folder / name, load_state(stopped) | spoilt)
    torch.manual_seed(99)  # whatever this process has drawn before must not matter
    learn(f"--resume={folder / name}")
    return {part: apart(whole, folder / name, part) for part in ("model", "average")}


whole = learn(*FLAGS, f"--out={folder}/whole")
stopped = learn(*FLAGS, f"--out={folder}/stopped", kind=Pressed)
state = load_state(stopped)
found = resumed("complete")
without_average = resumed("no-average", average=state["model"])
without_memory = resumed("no-memory", optimizers=[saved | {"state": {}} for saved in state["optimizers"]])

# %%
print(f"stopped at step {state['step']}; your guess: {guess}")
claim(found["model"] == 0 and found["average"] == 0, "a stop costs not a bit", **found)
claim(without_average["model"] == 0, "the average is not needed to train", **without_average)
claim(without_average["average"] > 0, "but the model that you keep is another one", **without_average)
claim(without_memory["model"] > 0.01, "without the optimisers' memory, training goes elsewhere", **without_memory)

# %% [markdown]
# ## Two processes
#
# Several GPUs share a batch: each process takes its part, and before the step all gradients are averaged. `torchrun`
# starts the processes; here they are two, on the CPU. In `TrainingOrder`, the global batch stays what it was, and
# each process takes a slice.

# %%
torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
command = [*torchrun, str(ROOT / "train.py"), *FLAGS, f"--out={folder}/two", "--stop-after=40"]
done = subprocess.run(command, capture_output=True, encoding="utf-8")
assert done.returncode == 0, done.stderr[-2000:]
shared = apart(stopped, folder / "two", "model")
claim(shared < 0.001, "two processes learn what one does", apart=shared)
claim(shared > 0, "but not to the bit", apart=shared)

# %% [markdown]
# They add the same numbers in another order, and a sum of rounded numbers depends on the order. So "the same" needs two
# tests: to the bit after a stop, up to rounding between processes. A test that is too loose lets faults pass.
#
# ## Exercise 9.3
#
# Write both in one function. `loop(steps, saved=None, processes=1)` is a small loop. Its `steps` count from the
# beginning, after a stop too. It returns its state, in which "model" and "average" count. Yours must return True for
# the loop below, and False for seven others that you do not see, each with one fault.

# %%
show_source(SmallLoop, "def __call__", "return state")


# %%
@exercise("9.3")
def keeps_its_word(loop): ...


# %% [markdown]
# ## Which weights are the model?
#
# One line of the step is left. Beside the weights that are trained stands their *exponential moving average*, EMA:
# after each step it moves a little towards them. It never acts back on training, as you have seen above. In the loop,
# `decay` grows, so that the first, random weights are soon forgotten.

# %%
show_source(update_average)

# %% [markdown]
# Now the model of lesson 01 trains on, at the full learning rate. After each of the last twelve steps, the raw weights
# and their average make the same two videos from the same noise. From one step to the next the videos change: take the
# mean square of the pixels' changes. How many times larger is it with the raw weights? (Every fourth time, both are
# asked for the clean video too, as in lesson 07, on clips that training does not see.)

# %%
guess = 2  # times as much
frames, errors = {"raw": [], "average": []}, {"raw": [], "average": []}


class Watched(DenoiserStage):
    def samples(self, folder, step, average, metrics):
        if step <= 98:
            return
        for name, model in (("raw", self.model), ("average", average)):
            videos = model.eval().generate(["a red circle moving right", "a blue square moving up"], seeds=[7, 8])
            frames[name].append(to_frames(videos)[:, 4])  # the fifth frame of each
            if step % 4 == 2:
                errors[name].append(x0_error(model, Path("data/toy-256-clips/manifest.jsonl")))


learn(
    *FLAGS,
    *(f"--init={trained}", f"--out={folder}/watched", "--seed=1"),
    *("--steps=110", "--batch-size=16", "--schedule=constant", "--sample-every=1"),
    kind=Watched,
)
change = {name: float(np.square(np.diff(np.stack(each).astype(float), axis=0)).mean()) for name, each in frames.items()}
error = {name: float(np.exp(np.log(each).mean())) for name, each in errors.items()}
print(f"your guess: {guess} times; measured: {change['raw'] / change['average']:.1f} times")
claim(change["raw"] > 4 * change["average"], "the average holds still", **change)
claim(error["average"] < 0.92 * error["raw"], "and knows the clean video better", **error)

# %% [markdown]
# The average is the better model, and no step has ever trained it. The raw weights are pushed to and fro by each batch;
# the mean of where they have been lies nearer to where the loss is lowest.
#
# There is another way to calm them, and you saw it in the first picture: let the learning rate fall to zero. What is
# the average worth at the end of lesson 01's run? (The errors above are larger, but there the clips were
# fewer and the batches smaller, too.)

# %%
model, ended = TextToVideo.from_pretrained(trained), {}
for part in ("model", "average"):
    model.load_state_dict(load_state(trained)[part])
    ended[part] = float(np.exp(np.log(x0_error(model, Path("data/toy-256-clips/manifest.jsonl"))).mean()))
claim(abs(ended["average"] / ended["model"] - 1) < 0.1, "once the rate has fallen, they are alike", **ended)

# %%
shown = [np.stack([step[prompt] for step in frames[name]]) for prompt in (0, 1) for name in ("raw", "average")]
film(shown, ["raw weights", "their average"] * 2, "09-weights", milliseconds=250)

# %% [markdown]
# Each frame is one step of training. Time does not pass in these films; only the weights change.
#
# ## What is still missing
#
# An average pays while the rate is high, so that a run can be judged, or stopped, at any time. A falling rate must
# know beforehand when the run ends. Which of the two a long training needs is being studied
# ([2405.18392](https://arxiv.org/abs/2405.18392)).
#
# The loop keeps its promises for a bad plan too. How large a model should be, how long it should learn, and from how
# many clips: no line of it says that. Nor does it care what it trains. It made the denoiser of lesson 01 and the
# autoencoder of lesson 05. The next lesson hands it a model of another kind, a language model. Can that write a video?
