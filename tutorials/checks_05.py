"""What the exercises of lesson 05 are checked by."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from exercises import Wrong, begun
from torch import Tensor

from lite_sora.autoencoders.kl import KLAutoencoder, KLConfig


def check_1(latent_frames) -> None:
    """So a model is asked for 9, 17 or 25 frames, never for 8, 16 or 24: now you know where such numbers come from.
    The first frame is one latent frame. Of the `frames - 1` others each t become one; where they do not divide by t, or
    where there is no first frame, `raise ValueError`.
    """
    for t in (2, 4, 8, 1):
        for k in range(6):
            frames = 1 + k * t
            try:
                found = begun(latent_frames(frames, t))
            except ValueError:
                raise Wrong(f"{frames} frames are 1 + {k} × {t}, and were refused") from None
            if found == 1 + k:
                if isinstance(found, float):
                    raise Wrong(f"frames are counted in whole numbers: {found} is a float. `//` divides without a rest")
                continue
            if found == frames // t:
                raise Wrong(f"of {frames} frames, t = {t}, it makes {found}: the first frame stands on its own")
            raise Wrong(f"{frames} frames, t = {t}: {found}, not {1 + k}")
        for frames in (*(frames for frames in range(1, 41) if (frames - 1) % t), 0):
            try:
                found = latent_frames(frames, t)
            except ValueError:
                continue
            except Exception as error:
                raise Wrong(f"{frames} frames, t = {t}: refused with {type(error).__name__}, not ValueError") from None
            if found is ValueError or isinstance(found, ValueError):
                raise Wrong("ValueError is returned: `raise` it")
            if not frames:
                raise Wrong(f"0 frames were not refused, where t = {t}: k is at least 0, and 1 the fewest frames")
            raise Wrong(f"{frames} frames are not 1 + a multiple of {t}, and were not refused: it gave {found}")


def check_2(causal_pad) -> None:
    """That is all that makes a network causal; the weights of one that was trained on images can even be kept.
    kernel - 1 frames are missing, and all of them belong before the first. Which frames there would make a still video
    look as if it had been still before, too?
    """
    random = torch.Generator().manual_seed(0)
    for shape, kernel in (((2, 3, 6, 4, 4), 3), ((1, 2, 5, 3, 2), 5), ((2, 1, 4, 2, 3), 1), ((1, 1, 1, 2, 2), 3)):
        h = torch.randn(shape, generator=random)
        missing = kernel - 1
        try:
            found = begun(causal_pad(h, kernel))
        except NotImplementedError as error:  # what F.pad raises for a wrong number of paddings
            if not error.args:
                raise
            said = str(error).splitlines()[0]
            raise Wrong(f"PyTorch says: {said} F.pad counts from the last axis: W, W, H, H, T, T") from None
        if found.shape[2] != shape[2] + missing:
            raise Wrong(
                f"of {shape[2]} frames it makes {found.shape[2]}; a kernel of {kernel} frames needs {missing} more"
            )
        if found.shape != (*shape[:2], shape[2] + missing, *shape[3:]):
            raise Wrong(f"only time is padded here: {shape} became {tuple(found.shape)}")
        before, after = found[:, :, :missing], found[:, :, missing:]
        if torch.equal(after, h):
            if torch.equal(before, h[:, :, :1].expand_as(before)):
                continue
            if not before.any():
                raise Wrong("a still video of zeros before it begins is no still video: 0 is gray, in [-1, 1]")
            if 1 < missing < shape[2] and torch.equal(before, h[:, :, :missing]):
                raise Wrong("those are the first frames: later ones among them, so the first output would look ahead")
            if torch.equal(before, h[:, :, -1:].expand_as(before)):
                raise Wrong("those are copies of the last frame: the first output would know the end")
            raise Wrong("what stands before the first frame are not copies of it, but something else")
        if torch.equal(found[:, :, : shape[2]], h):
            raise Wrong(f"the frames are added at the end: each output would look {missing} frames ahead")
        if torch.equal(found[:, :, missing // 2 : missing // 2 + shape[2]], h):
            raise Wrong(f"half of the frames is added at the end: each output would look ahead by {missing // 2}")
        raise Wrong("the right number of frames, but the video itself is not in them as it was")


def check_3(reach) -> None:
    """Run it on every network that is to be causal: a leak cannot be seen in its videos, only in what it is fed.
    Keep the output for some random video. For each frame: copy the video, change this frame alone, and see which output
    frames differ, however little. `output - frame` is how far that one looks back, `frame - output` how far ahead.
    """
    for what, network, back, ahead in networks(frames := 9):
        found = begun(reach(network, frames))
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("it returns two numbers: frames back, frames ahead")
        found = tuple(found)
        if found == (back, ahead):
            continue
        if found == (0, 0):
            raise Wrong(f"for {what} nothing ever changed. Is there a copy (`clone`), and is something else in it?")
        if found == (ahead, back):
            raise Wrong("the first number is how far it looks back, the second how far ahead: the other way round")
        if found == (back + 1, ahead + 1) or found == (back + 1, ahead):
            raise Wrong("a frame that looks at itself looks 0 frames back")
        if found[1] == frames - 1 and not ahead:
            raise Wrong("a changed frame stays changed when a later one is tried: begin each time with a fresh copy")
        if "thousandth" in what:
            raise Wrong(f"it does not see {what}: the smallest difference counts")
        if ahead and found == (back, 0):
            raise Wrong(f"{what} looks ahead by {ahead}: outputs before the changed frame count as well")
        if back == frames - 1:
            raise Wrong(f"{what} looks from the first frame to the last: change each frame, these two as well")
        raise Wrong(f"{what} looks {back} back and {ahead} ahead, not {found[0]} and {found[1]}")


def networks(frames: int) -> list[tuple[str, Callable[[Tensor], Tensor], int, int]]:
    """(what it is, the network, frames back, frames ahead)."""

    def looking(*weights: tuple[int, float]) -> Callable[[Tensor], Tensor]:
        """A convolution over time: (how many frames back, weight)."""

        def network(h: Tensor) -> Tensor:
            outputs = torch.zeros_like(h)
            for back, weight in weights:
                start, stop = max(0, back), frames + min(0, back)
                outputs[:, :, start:stop] += weight * h[:, :, start - back : stop - back]
            return outputs

        return network

    causal = looking((0, 0.5), (1, -0.3), (2, 0.4))
    return [
        ("a causal convolution of 3 frames", causal, 2, 0),
        ("two causal convolutions", lambda h: causal(F.silu(causal(h))), 4, 0),
        ("a convolution that looks to both sides", looking((-1, 0.3), (0, 0.5), (1, 0.2)), 1, 1),
        ("one that looks ahead alone", looking((0, 0.5), (-1, 0.4), (-3, 0.4)), 0, 3),
        ("one that looks at each frame alone", torch.tanh, 0, 0),
        ("a causal one with a leak of a thousandth", looking((0, 0.5), (1, 0.5), (-2, 1e-3)), 1, 2),
        ("a normalisation over time", lambda h: h * h.square().mean(2, keepdim=True).rsqrt(), frames - 1, frames - 1),
    ]


def check_4(stream) -> None:
    """So a film of any length goes through a machine of any size; `encode_stream` and `decode_stream` do this.
    `memory = {}` once, before the loop, and the same one for each piece. The first piece is video[:, :, : 1 + size];
    `torch.cat(outputs, dim=2)` at the end.
    """
    random = torch.Generator().manual_seed(0)
    encoder = KLAutoencoder(KLConfig(latent_channels=2, channels=8)).eval().requires_grad_(False).encoder
    for weight in encoder.parameters():
        if weight.dim() == 5:
            weight.copy_(torch.randn(weight.shape, generator=random) * weight[0].numel() ** -0.5)
    for frames, size in ((9, 4), (17, 2), (33, 8)):
        video, witness = torch.rand(1, 3, frames, 8, 8, generator=random), Witness(encoder)
        expected, lengths, failed = encoder(video), witness.lengths, None
        try:
            found = begun(stream(witness, video, size))
        except RuntimeError as error:  # of PyTorch; how the video was cut may tell more
            failed = error
        if any(memory is None or memory is not witness.memories[0] for memory in witness.memories):
            raise Wrong("the memory is not carried: every piece begins a new video. Give all of them one dictionary")
        if max(lengths, default=0) > 1 + size:
            raise Wrong(f"a piece of {max(lengths)} frames, where size = {size}: never more than 1 + size at a time")
        if lengths != [1 + size] + [size] * ((frames - 1 - size) // size):
            twice = ", so one would come twice" if sum(lengths) > frames else ""
            raise Wrong(f"{frames} frames were cut into {lengths}{twice}: first 1 + {size}, then {size} at a time")
        if failed:
            raise Wrong(f"the pieces are right, but then PyTorch says: {failed}. Time is dimension 2") from None
        if found.shape != expected.shape:
            raise Wrong(f"it gives the shape {tuple(found.shape)}, not {tuple(expected.shape)}; time is dimension 2")
        if not torch.allclose(found, expected, rtol=1e-4, atol=1e-4):
            raise Wrong(f"right pieces, wrong values: off by up to {(found - expected).abs().max():.2g}")


class Witness:
    """A network that remembers what it was given."""

    def __init__(self, network: Callable[[Tensor, dict | None], Tensor]):
        self.network, self.lengths, self.memories = network, [], []

    def __call__(self, piece: Tensor, memory: dict | None = None) -> Tensor:
        if not self.lengths and memory:
            raise Wrong("a new video begins with the memory of the last one: make the dictionary in the function")
        self.lengths.append(piece.shape[2])
        self.memories.append(memory)
        return self.network(piece, memory)
