"""What the exercises of lesson 07 are checked by."""

from math import prod

import torch
from exercises import Wrong, begun

from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.prediction import ROWS, solve

LINEAR = PATHS["linear"]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def check_1(estimate) -> None:
    """Samplers need nothing else: whatever a network predicts, they are told the clean video and the noise.
    On the linear path x_t = (1 - t) x + t noise, and velocity = noise - x. Two equations, two unknowns: what is
    x_t - t velocity?
    """
    random = torch.Generator().manual_seed(0)
    for shape in ((2, 3), (4, 3, 2, 4, 4), (1, 1), (5, 2, 3)):
        x, noise = (torch.randn(shape, generator=random) for _ in range(2))
        t = torch.rand(shape[0], generator=random) * 0.8 + 0.1
        wide = t.reshape(-1, *[1] * (len(shape) - 1))
        x_t, velocity = (1 - wide) * x + wide * noise, noise - x
        try:
            found = begun(estimate(x_t, velocity, t))
        except RuntimeError as error:
            if "size of tensor" not in str(error):
                raise
            raise Wrong(
                f"t is (B,) and x_t is {shape}: t.reshape(-1, *[1] * (x_t.dim() - 1)) can be multiplied"
            ) from None
        if not isinstance(found, tuple) or len(found) != 2:
            raise Wrong("it returns two things: the clean video, and the noise")
        expected = solve(LINEAR, "velocity", x_t, velocity, t)
        if all(close(one, other) for one, other in zip(found, expected, strict=True)):
            continue
        if close(found[0], expected[1]) and close(found[1], expected[0]):
            raise Wrong("the first is the noise and the second the clean video: the other way round")
        if close(found[0], x_t - (1 - wide) * velocity) or close(found[1], x_t + wide * velocity):
            raise Wrong("t runs the wrong way: here 0 is data and 1 is noise")
        if close(found[0], x_t + wide * velocity) or close(found[1], x_t - (1 - wide) * velocity):
            raise Wrong("the sign is wrong: velocity is noise - x, and leads from the clip to the noise")
        if found[0].shape != expected[0].shape:
            raise Wrong(f"the clean video has the shape {tuple(found[0].shape)}, but x_t {shape}; t is (B,)")
        raise Wrong(f"right shapes, wrong values: off by up to {(found[0] - expected[0]).abs().max():.2g}")


def check_2(floor) -> None:
    """So a failure that would take an hour to train is known beforehand, from two numbers of a row.
    The share of the output's noise that cannot come out is 1 - channels / values. `solve` divides an error of y by the
    determinant: the clean video's error is sigma / (alpha b - sigma a) times y's. And y holds b times the noise.
    """
    for prediction in ("noise", "velocity", "v", "edm", "x0"):
        for log_snr in (-2.0, 0.0, 3.0):
            for values, channels in ((384, 128), (96, 128), (192, 48)):
                t = LINEAR.time_at(torch.tensor([log_snr]))
                alpha, sigma, *slopes = LINEAR.coefficients(t)
                a, b = ROWS[prediction](alpha, sigma, *slopes)
                gain = (sigma / (alpha * b - sigma * a)) ** 2 * b**2
                expected = float(gain) * max(0.0, 1 - channels / values)
                found = float(begun(floor(prediction, log_snr, values, channels)))
                if abs(found - expected) <= 1e-3 * max(1.0, expected):
                    continue
                if found < 0 and channels > values:
                    raise Wrong("with more channels than values nothing is lost: a floor is never below 0")
                if abs(found - float(gain) * channels / values) < 1e-3:
                    raise Wrong("that is the share that comes out, not the one that is lost")
                if abs(found**2 - expected) < 1e-3 * max(1.0, expected):
                    raise Wrong("errors are squared here: so is the factor of the error")
                if abs(found - float(b**2) * max(0.0, 1 - channels / values)) < 1e-3:
                    raise Wrong("that is the error of y: `solve` makes one of the clean video of it")
                raise Wrong(
                    f"for {prediction} at log-SNR {log_snr}, {values} values through {channels} channels, the floor is "
                    f"{expected:.3f}, and not {found:.3f}"
                )


def check_3(patch) -> None:
    """A smaller patch lets any prediction through, and costs tokens: that trade is every model's of this kind.
    A patch of pt frames × ph × pw pixels of 3 channels has 3 pt ph pw values; at most 128 may be needed. A clip of
    8 × 32 × 32 then has 8 × 32 × 32 / (pt ph pw) tokens.
    """
    found = tuple(begun(patch()))
    if len(found) != 3 or any(size % part for size, part in zip((8, 32, 32), found, strict=True)):
        raise Wrong(f"{found} does not divide 8 × 32 × 32 (frames, height, width)")
    values, tokens = 3 * prod(found), 8 * 32 * 32 // prod(found)
    if values > 128:
        raise Wrong(
            f"a patch of {values} values cannot pass 128 channels whole: {1 - 128 / values:.0%} of noise is lost"
        )
    if tokens > 256:
        raise Wrong(f"nothing is lost, but there are {tokens} tokens; 256 are enough")
