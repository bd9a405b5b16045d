"""What the exercises of lesson 09 are checked by."""

import torch
from exercises import Wrong, begun
from torch import Tensor

from lite_sora.data.loading import TrainingOrder
from lite_sora.seeds import normal


def check_1(piece_loss) -> None:
    """So a batch of any size fits into any memory: it only takes longer.
    The gradient of a sum is the sum of the gradients. So what the pieces give must add up to losses.mean() of the
    whole batch. What does one clip add to that mean, whichever piece it is in?
    """
    random = torch.Generator().manual_seed(0)
    for batch, pieces in ((12, 3), (32, 1), (6, 2), (32, 3), (10, 4), (7, 5)):
        losses = torch.rand(batch, generator=random)
        parts = losses.clone().requires_grad_().split(-(-batch // pieces))
        answers = [begun(piece_loss(part, len(parts), batch)) for part in parts]
        if not all(isinstance(answer, Tensor) and answer.requires_grad for answer in answers):
            raise Wrong("nothing can be learned from a bare number: return a tensor that was computed from `losses`")
        if any(answer.numel() != 1 for answer in answers):
            raise Wrong(f"a loss is one number, and {tuple(answers[0].shape)} came back: what does a piece add up to?")
        found = sum(float(answer.detach()) for answer in answers)
        if abs(found - float(losses.mean())) < 1e-5:
            continue
        sizes = [len(part) for part in parts]
        if abs(found - float(losses.sum())) < 1e-4:
            raise Wrong(f"the gradient grows with the batch: with {batch} clips it is {batch} times that of their mean")
        if abs(found - sum(float(part.detach().mean()) for part in parts)) < 1e-5:
            raise Wrong(f"each piece counts as a whole batch: {len(parts)} pieces, {len(parts)} times the gradient")
        if abs(found - sum(float(part.detach().mean()) for part in parts) / len(parts)) < 1e-5:
            raise Wrong(f"in pieces of {sizes} clips, those of the smallest count more than the others")
        raise Wrong(f"the pieces of {sizes} clips add up to {found:.4f}; the mean is {float(losses.mean()):.4f}")


def check_2(orthogonal) -> None:
    """That is the heart of Muon: the directions stay, and the strong ones no longer outvote the weak ones.
    First divide by the norm, so that no singular value is above 1. Then, `steps` times over: x becomes 1.5 x minus half
    of (x times its transpose times x). `@` multiplies matrices, and `*` their entries one by one.
    """
    random = torch.Generator().manual_seed(0)
    for shape in ((6, 4), (4, 6), (32, 32), (24, 48)):
        u, _, v = torch.linalg.svd(torch.randn(shape, generator=random), full_matrices=False)
        values = torch.rand(min(shape), generator=random) + 0.5
        matrix, expected = 3 * u @ values.diag() @ v, u @ v
        found = begun(orthogonal(matrix.clone(), 30))
        if not isinstance(found, Tensor) or found.shape != matrix.shape:
            raise Wrong(f"a matrix {shape} must come out as one of the same shape")
        if torch.allclose(found, expected, atol=1e-3):
            continue
        normed = matrix / matrix.norm()
        if torch.allclose(found, cubic(normed, 1), atol=1e-4):
            raise Wrong("it took one step, or began anew in each: go on from x, as many times as you are told")
        if torch.allclose(orthogonal(normed.clone(), 30), expected, atol=1e-3):
            raise Wrong("the numbers run away: divide by the norm first, so that no singular value is above 1")
        if torch.allclose(found, elementwise(normed, 30), atol=1e-3, equal_nan=True):
            raise Wrong("it cubes the entries: x * x * x is not x @ x.T @ x")
        if torch.allclose(found, normed_again(matrix, 30), atol=1e-3):
            raise Wrong("it divides by the norm in every step, and never reaches 1: divide once, before the loop")
        if not bool(found.isfinite().all()):
            raise Wrong("the numbers run away, though the singular values begin below 1: look at the signs")
        least, *_, most = torch.linalg.svdvals(found).sort().values.tolist()
        raise Wrong(f"right shape, wrong values: singular values from {least:.2f} to {most:.2f}, and all should be 1")


def cubic(x: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


def elementwise(x: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x * x * x
    return x


def normed_again(x: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        x = cubic(x / x.norm(), 1)
    return x


# ---------------------------------------------------------------- exercise 9.3: loops, one of them right


class SmallLoop:
    """8 numbers learn the mean of 20 noisy clips. `processes` share each batch of 6."""

    def __call__(self, steps: int, saved: dict | None = None, processes: int = 1) -> dict:
        """The state after so many steps, from the beginning or from a state that was saved."""
        state = self.load(saved) if saved else {"step": 0} | {name: torch.zeros(8) for name in NAMES}
        for step in range(state["step"], steps):
            gradients = [self.gradient(state["model"], step, rank, processes) for rank in range(processes)]
            state["momentum"] = 0.9 * state["momentum"] + self.together(gradients)
            state["model"] = state["model"] - 0.1 * state["momentum"]
            state["average"] = 0.8 * state["average"] + 0.2 * state["model"]
            state["step"] = step + 1
        return state

    def gradient(self, model: Tensor, step: int, rank: int, processes: int) -> Tensor:
        """What one process finds in its part of a batch."""
        (keys,) = TrainingOrder(20, 6, 0, step, step + 1, rank, processes)
        clips, seeds = zip(*keys, strict=True)
        return (model - normal(clips, (8,)) - 0.3 * normal(seeds, (8,))).mean(0)

    def together(self, gradients: list[Tensor]) -> Tensor:
        return torch.stack(gradients).mean(0)

    def load(self, saved: dict) -> dict:
        return dict(saved)


NAMES = ("model", "momentum", "average")


class Repeats(SmallLoop):
    "after a stop begins again with the first clips"

    def __call__(self, steps, saved=None, processes=1):
        self.first = saved["step"] if saved else 0
        return super().__call__(steps, saved, processes)

    def gradient(self, model, step, rank, processes):
        return super().gradient(model, step - self.first, rank, processes)


class ForgetsMomentum(SmallLoop):
    "forgets the momentum in a stop"

    def load(self, saved):
        return saved | {"momentum": torch.zeros(8)}


class ForgetsAverage(SmallLoop):
    "forgets the average in a stop, and begins it again at the model"

    def load(self, saved):
        return saved | {"average": saved["model"]}


class Rounds(SmallLoop):
    "saves its weights rounded to 16 bits"

    def load(self, saved):
        return saved | {"model": saved["model"].bfloat16().float()}


class WritesText(SmallLoop):
    "saves its weights as text with seven decimals, and so loses their last bits"

    def load(self, saved):
        return saved | {"model": saved["model"].round(decimals=7)}


class Sums(SmallLoop):
    "adds the gradients of its processes up, and should take their mean,"

    def together(self, gradients):
        return torch.stack(gradients).sum(0)


class Doubles(SmallLoop):
    "gives all processes the same part of the batch"

    def gradient(self, model, step, rank, processes):
        return super().gradient(model, step, 0, processes)


class Alone(SmallLoop):
    """Right, too; with no process beside it that could round in another way."""

    def __call__(self, steps, saved=None, processes=1):
        return super().__call__(steps, saved)


FAULTY = (Repeats, ForgetsMomentum, ForgetsAverage, Rounds, WritesText, Sums, Doubles)


def check_3(keeps_its_word) -> None:
    """These two tests stand in this project too, for the real loop; each line of it is there because of one of them.
    Two comparisons. loop(6) and loop(6, saved=loop(3)): no bit may differ (torch.equal), neither of "model" nor of
    "average". loop(6) and loop(6, processes=2): they add in another order, so compare with torch.allclose.
    """
    if not begun(says(keeps_its_word, SmallLoop())):
        if not says(keeps_its_word, Alone()):
            raise Wrong(
                "it rejects the right loop, and not for its rounding. `steps` counts from the very beginning: what "
                "loop(3) saved reaches step 6 with loop(6, saved=…), and loop(3, saved=…) does nothing"
            )
        raise Wrong(
            "it rejects the right loop. Two processes add the same numbers in another order, so that the last bits "
            "differ: allow for rounding there"
        )
    for kind in FAULTY:
        if begun(says(keeps_its_word, kind())):
            raise Wrong(f"a loop passes that {kind.__doc__}")


def says(keeps_its_word, loop: SmallLoop) -> bool:
    """What the reader's function says of a loop; it should say so, and raise nothing."""
    try:
        return keeps_its_word(loop)
    except AssertionError:
        raise Wrong("it ends with an AssertionError: return False where a test fails, and True at the end") from None
