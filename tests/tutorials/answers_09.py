"""For each exercise of lesson 09 a right answer, and typical wrong ones with a part of what must be said of them."""

import torch


def right_9_1(losses, pieces, batch):
    return losses.sum() / batch


def summed_9_1(losses, pieces, batch):
    return losses.sum()


def whole_9_1(losses, pieces, batch):
    return losses.mean()


def uneven_9_1(losses, pieces, batch):
    return losses.mean() / pieces


def each_clip_9_1(losses, pieces, batch):
    return losses / batch


def bare_9_1(losses, pieces, batch):
    return losses.sum().item() / batch


def right_9_2(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


def unnormed_9_2(matrix, steps):
    x = matrix
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


def entries_9_2(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x * x * x
    return x


def once_9_2(matrix, steps):
    return right_9_2(matrix, 1)


def normed_again_9_2(matrix, steps):
    x = matrix
    for _ in range(steps):
        x = x / x.norm()
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


def sign_9_2(matrix, steps):
    x = matrix / matrix.norm()
    for _ in range(steps):
        x = 1.5 * x + 0.5 * x @ x.T @ x
    return x


def transposed_9_2(matrix, steps):
    return right_9_2(matrix, steps).T


def halved_9_2(matrix, steps):
    return right_9_2(matrix, steps) / 2


def right_9_3(loop):
    whole, stopped, shared = loop(6), loop(6, saved=loop(3)), loop(6, processes=2)
    same = all(torch.equal(whole[name], stopped[name]) for name in ("model", "average"))
    return same and torch.allclose(whole["model"], shared["model"], atol=1e-5)


def credulous_9_3(loop):
    return True


def stop_only_9_3(loop):
    whole, stopped = loop(6), loop(6, saved=loop(3))
    return all(torch.equal(whole[name], stopped[name]) for name in ("model", "average"))


def model_only_9_3(loop):
    whole, stopped, shared = loop(6), loop(6, saved=loop(3)), loop(6, processes=2)
    return torch.equal(whole["model"], stopped["model"]) and torch.allclose(whole["model"], shared["model"], atol=1e-5)


def loose_9_3(loop):
    whole, stopped, shared = loop(6), loop(6, saved=loop(3)), loop(6, processes=2)
    near = all(torch.allclose(whole[name], stopped[name], atol=1e-2) for name in ("model", "average"))
    return near and torch.allclose(whole["model"], shared["model"], atol=1e-5)


def strict_9_3(loop):
    whole, stopped, shared = loop(6), loop(6, saved=loop(3)), loop(6, processes=2)
    return all(torch.equal(whole[name], other[name]) for name in ("model", "average") for other in (stopped, shared))


def near_9_3(loop):
    whole, others = loop(6), (loop(6, saved=loop(3)), loop(6, processes=2))
    return all(torch.allclose(whole[name], other[name]) for name in ("model", "average") for other in others)


def further_9_3(loop):
    return torch.equal(loop(6)["model"], loop(3, saved=loop(3))["model"])


def asserting_9_3(loop):
    assert torch.equal(loop(6)["model"], loop(6, processes=2)["model"])
    return True


RIGHT = {"9.1": right_9_1, "9.2": right_9_2, "9.3": right_9_3}
WRONG = {
    "9.1": [
        (summed_9_1, "grows with the batch"),
        (whole_9_1, "3 times the gradient"),
        (uneven_9_1, "those of the smallest count more"),
        (each_clip_9_1, "a loss is one number"),
        (bare_9_1, "nothing can be learned from a bare number"),
        (lambda losses, pieces, batch: losses.sum() / batch / 2, "add up to"),
    ],
    "9.2": [
        (unnormed_9_2, "divide by the norm first"),
        (entries_9_2, "cubes the entries"),
        (once_9_2, "it took one step"),
        (normed_again_9_2, "divide once"),
        (sign_9_2, "look at the signs"),
        (transposed_9_2, "of the same shape"),
        (halved_9_2, "right shape, wrong values"),
    ],
    "9.3": [
        (credulous_9_3, "begins again with the first clips"),
        (stop_only_9_3, "adds the gradients"),
        (model_only_9_3, "forgets the average"),
        (loose_9_3, "rounded to 16 bits"),
        (near_9_3, "loses their last bits"),
        (strict_9_3, "allow for rounding"),
        (further_9_3, "counts from the very beginning"),
        (asserting_9_3, "return False where a test fails"),
    ],
}
