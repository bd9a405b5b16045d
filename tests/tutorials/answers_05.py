"""For each exercise of lesson 05 a right answer, and typical wrong ones with a part of what must be said of them."""

import torch
import torch.nn.functional as F


def right_5_1(frames, t):
    if frames < 1 or (frames - 1) % t:
        raise ValueError(f"{frames} frames are not 1 + a multiple of {t}")
    return 1 + (frames - 1) // t


def divided_5_1(frames, t):
    return frames // t


def rounded_up_5_1(frames, t):
    return -(-frames // t)


def taking_all_5_1(frames, t):
    return 1 + (frames - 1) // t


def strict_5_1(frames, t):
    if frames % t:
        raise ValueError
    return right_5_1(frames, t)


def zero_too_5_1(frames, t):
    if (frames - 1) % t:
        raise ValueError
    return 1 + (frames - 1) // t


def asserting_5_1(frames, t):
    assert frames > 0 and (frames - 1) % t == 0
    return 1 + (frames - 1) // t


def returning_5_1(frames, t):
    return ValueError if (frames - 1) % t else 1 + (frames - 1) // t


def right_5_2(h, kernel):
    return torch.cat([h[:, :, :1].expand(-1, -1, kernel - 1, -1, -1), h], dim=2)


def both_sides_5_2(h, kernel):
    return F.pad(h, (0, 0, 0, 0, kernel // 2, kernel // 2), mode="replicate")


def at_the_end_5_2(h, kernel):
    return F.pad(h, (0, 0, 0, 0, 0, kernel - 1), mode="replicate")


def zeros_5_2(h, kernel):
    return F.pad(h, (0, 0, 0, 0, kernel - 1, 0))


def one_more_5_2(h, kernel):
    return F.pad(h, (0, 0, 0, 0, kernel, 0), mode="replicate")


def of_the_end_5_2(h, kernel):
    return torch.cat([h[:, :, -1:].expand(-1, -1, kernel - 1, -1, -1), h], dim=2)


def first_frames_5_2(h, kernel):
    return torch.cat([h[:, :, : kernel - 1], h], dim=2)


def two_paddings_5_2(h, kernel):
    return F.pad(h, (kernel - 1, 0), mode="replicate")


def around_5_2(h, kernel):
    return torch.cat([h[:, :, :0], h.roll(1, 2), h[:, :, :1].expand(-1, -1, kernel - 1, -1, -1)], dim=2)


def right_5_3(network, frames):
    video = torch.randn(1, 3, frames, 8, 8)
    before, back, ahead = network(video), 0, 0
    for frame in range(frames):
        changed = video.clone()
        changed[:, :, frame] += 1
        differs = (network(changed) != before).any(dim=1).flatten(2).any(dim=2)[0]
        for output in differs.nonzero().flatten().tolist():
            back, ahead = max(back, output - frame), max(ahead, frame - output)
    return back, ahead


def differences_5_3(network, frames, video=None, tried=None, more=1.0, least=0.0, copy=True):
    """As the right one, with parts of the wrong ones."""
    video = torch.randn(1, 3, frames, 8, 8) if video is None else video
    before, back, ahead = network(video), 0, 0
    for frame in range(frames) if tried is None else tried:
        changed = video.clone() if copy else video
        changed[:, :, frame] += more
        for output in range(frames):
            if (network(changed)[:, :, output] - before[:, :, output]).abs().max() > least:
                back, ahead = max(back, output - frame), max(ahead, frame - output)
    return back, ahead


def swapped_5_3(network, frames):
    return right_5_3(network, frames)[::-1]


def itself_5_3(network, frames):
    back, ahead = right_5_3(network, frames)
    return back + 1, ahead + 1


def unchanged_5_3(network, frames):
    return differences_5_3(network, frames, more=0.0)


def piling_up_5_3(network, frames):
    return differences_5_3(network, frames, copy=False)


def coarse_5_3(network, frames):
    return differences_5_3(network, frames, least=0.01)


def middle_5_3(network, frames):
    return differences_5_3(network, frames, tried=[frames // 2])


def back_alone_5_3(network, frames):
    return right_5_3(network, frames)[0]


def back_alone_counted_5_3(network, frames):
    return right_5_3(network, frames)[0], 0


def right_5_4(network, video, size):
    memory = {}
    outputs = [network(video[:, :, : 1 + size], memory)]
    for start in range(1 + size, video.shape[2], size):
        outputs.append(network(video[:, :, start : start + size], memory))
    return torch.cat(outputs, dim=2)


def forgetful_5_4(network, video, size):
    first = [network(video[:, :, : 1 + size], {})]
    return torch.cat(first + [network(piece, {}) for piece in video[:, :, 1 + size :].split(size, dim=2)], dim=2)


def without_5_4(network, video, size):
    return torch.cat([network(piece, None) for piece in video.split(size, dim=2)], dim=2)


def whole_5_4(network, video, size):
    return network(video, {})


def even_5_4(network, video, size):
    memory = {}
    return torch.cat([network(piece, memory) for piece in video.split(size, dim=2)], dim=2)


def from_size_5_4(network, video, size):
    memory = {}
    outputs = [network(video[:, :, : 1 + size], memory)]
    for start in range(size, video.shape[2], size):
        outputs.append(network(video[:, :, start : start + size], memory))
    return torch.cat(outputs, dim=2)


def side_by_side_5_4(network, video, size):
    memory = {}
    pieces = [video[:, :, : 1 + size], *video[:, :, 1 + size :].split(size, dim=2)]
    return torch.cat([network(piece, memory) for piece in pieces])


def shared_5_4(network, video, size, memory={}):  # noqa: B006
    pieces = [video[:, :, : 1 + size], *video[:, :, 1 + size :].split(size, dim=2)]
    return torch.cat([network(piece, memory) for piece in pieces], dim=2)


def last_5_4(network, video, size):
    memory = {}
    pieces = [video[:, :, : 1 + size], *video[:, :, 1 + size :].split(size, dim=2)]
    return [network(piece, memory) for piece in pieces][-1]


RIGHT = {"5.1": right_5_1, "5.2": right_5_2, "5.3": right_5_3, "5.4": right_5_4}
WRONG = {
    "5.1": [
        (divided_5_1, "the first frame stands on its own"),
        (rounded_up_5_1, "not refused"),
        (taking_all_5_1, "not refused"),
        (strict_5_1, "were refused"),
        (zero_too_5_1, "0 frames were not refused, where t = 1"),
        (asserting_5_1, "with AssertionError, not ValueError"),
        (returning_5_1, "`raise` it"),
        (lambda frames, t: float(right_5_1(frames, t)), "is a float"),
        (lambda frames, t: right_5_1(frames, t) + 1, "1 frames, t = 2: 2, not 1"),
    ],
    "5.2": [
        (both_sides_5_2, "half of the frames"),
        (at_the_end_5_2, "2 frames ahead"),
        (zeros_5_2, "0 is gray"),
        (one_more_5_2, "needs 2 more"),
        (of_the_end_5_2, "would know the end"),
        (first_frames_5_2, "those are the first frames"),
        (two_paddings_5_2, "F.pad counts from the last axis"),
        (around_5_2, "not in them as it was"),
    ],
    "5.3": [
        (swapped_5_3, "the other way round"),
        (itself_5_3, "looks 0 frames back"),
        (unchanged_5_3, "nothing ever changed"),
        (piling_up_5_3, "fresh copy"),
        (coarse_5_3, "the smallest difference counts"),
        (middle_5_3, "change each frame"),
        (back_alone_5_3, "two numbers"),
        (back_alone_counted_5_3, "outputs before the changed frame"),
    ],
    "5.4": [
        (forgetful_5_4, "not carried"),
        (without_5_4, "not carried"),
        (whole_5_4, "at a time"),
        (even_5_4, "first 1 + 4"),
        (from_size_5_4, "one would come twice"),
        (side_by_side_5_4, "Time is dimension 2"),
        (shared_5_4, "the memory of the last one"),
        (last_5_4, "time is dimension 2"),
    ],
}
