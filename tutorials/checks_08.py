"""What the exercises of lesson 08 are checked by."""

import torch
from exercises import Wrong, begun

from lite_sora.diffusion import samplers
from lite_sora.diffusion.grids import uniform_grid
from lite_sora.diffusion.guidance import guided
from lite_sora.diffusion.path import PATHS, along

LINEAR = PATHS["linear"]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def check_1(step) -> None:
    """Over and over, this is Euler's sampler. On the linear path it is to mix both anew at t_next, as DDIM does.
    A step is a length times a direction. The direction is noise - clean, towards noise, and t_next - t is negative.
    """
    random = torch.Generator().manual_seed(0)
    for shape in ((2, 3), (4, 3, 2, 4, 4), (1, 1)):
        for t, t_next in ((0.9, 0.75), (0.6, 0.5), (0.3, 0.0), (1.0, 0.5)):
            clean, noise = (torch.randn(shape, generator=random) for _ in range(2))
            x_t, expected = ((1 - time) * clean + time * noise for time in (t, t_next))
            found = begun(step(x_t, clean, noise, t, t_next))
            if close(found, expected):
                continue
            if close(found, 2 * x_t - expected):
                raise Wrong("it walks the wrong way: on the way to data t falls, so that t_next - t is negative")
            if close(found, x_t + noise - clean) or close(found, x_t + clean - noise):
                raise Wrong("it is as long for every t_next: the direction is right or reversed, the length is missing")
            if close(found, x_t + (t - t_next) * (clean - x_t)):
                raise Wrong("clean - x_t is shorter than clean - noise, the direction to walk in: it is t times that")
            if close(found, clean):
                raise Wrong("that is a step to t = 0, whatever t_next is")
            if found.shape != expected.shape:
                raise Wrong(f"x_t has the shape {shape}, but what comes back {tuple(found.shape)}")
            raise Wrong(f"right shape, wrong values: off by up to {(found - expected).abs().max():.2g}")


def check_2(heun) -> None:
    """Twice as many steps halve the error of Euler's sampler, and quarter that of this one.
    Four lines a step: slope = velocity(denoise, x, t, path); walk ahead along it; ask for the velocity there, at
    t_next; and walk from x along the mean of both. A step to t_next = 0 returns `clean(denoise, x, t)` instead.
    """

    def denoise(x, t):  # of data that is normal, of mean 0.6 and spread 0.4
        if float(t.min()) <= 0:
            raise Wrong("it asks at t = 0, where no network is asked: the step to t = 0 returns the clean video")
        asked.append(float(t[0]))
        alpha, sigma = (along(value, x) for value in LINEAR.alpha_sigma(t))
        rest = (x - alpha * 0.6) / (alpha**2 * 0.16 + sigma**2)
        return 0.6 + alpha * 0.16 * rest, sigma * rest

    def slope(x, t):
        return samplers.velocity(denoise, x, t, LINEAR)

    def walked(step, x, times):
        for t, t_next in samplers.pairs(times):
            x = step(x, x + (t_next - t) * slope(x, t), t, t_next)
        return x

    mistakes = {
        "the second slope is that at x; it must be asked where the first one leads, at t_next": (
            lambda x, ahead, t, t_next: x + (t_next - t) * (slope(x, t) + slope(x, t_next)) / 2
        ),
        "the second slope is asked at t; where the first one leads, the time is t_next": (
            lambda x, ahead, t, t_next: x + (t_next - t) * (slope(x, t) + slope(ahead, t)) / 2
        ),
        "it walks twice: the mean of both slopes starts at x, not where the first one leads": (
            lambda x, ahead, t, t_next: ahead + (t_next - t) * (slope(x, t) + slope(ahead, t_next)) / 2
        ),
        "it walks along the sum of both slopes, not along their mean": (
            lambda x, ahead, t, t_next: x + (t_next - t) * (slope(x, t) + slope(ahead, t_next))
        ),
    }
    for times in (torch.linspace(1, 0.2, 5), torch.tensor([1.0, 0.8, 0.3, 0.1]), uniform_grid(6, LINEAR)):
        x, asked = torch.randn(50, 2, generator=torch.Generator().manual_seed(1)), []
        found = begun(heun(denoise, x, times))
        expected = samplers.heun(denoise, x, times, LINEAR)
        if close(found, expected):
            continue
        if close(found, samplers.euler(denoise, x, times, LINEAR)):
            raise Wrong("that is Euler's sampler: the slope at the end of the step is not used")
        for mistake, step in mistakes.items():
            if times[-1] > 0 and close(found, walked(step, x, times)):
                raise Wrong(mistake)
        raise Wrong(f"right shape, wrong values: off by up to {(found - expected).abs().max():.2g}")


def check_3(choose) -> None:
    """Which heap is decided early, where in the heap late: so guide early. (2404.07724 does this with images.)
    t = 1 is noise. Late in the walk guidance no longer changes the heap, and still draws points together. The earlier
    it ends, the stronger it may be.
    """
    answer = begun(choose())
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], tuple) and len(answer[1]) == 2):
        raise Wrong("it must return a scale and an interval, such as 2, (0.0, 1.0)")
    scale, (low, high) = answer
    right, spread = measured(float(scale), (float(low), float(high)))
    if low > high:
        raise Wrong(f"the interval is (low, high): no time is between {low} and {high}")
    if high < 0.8:
        raise Wrong("t = 1 is noise: this interval ends before guidance could choose the heap")
    if right < 0.97:
        raise Wrong(f"only {right:.1%} end in the heap of the caption: guide more, or for longer")
    if spread < 0.9:
        raise Wrong(f"{right:.1%} end in the right heap, but their spread is {spread:.2f}: end guidance earlier")


def measured(scale: float, interval: tuple[float, float]) -> tuple[float, float]:
    """The plane of the lesson: the share in the caption's heap, and the spread there as a share of the data's."""
    random = torch.Generator().manual_seed(8)
    heaps = torch.tensor([[0.0, -1.7], [1.2, 0.0], [0.0, 1.7]])
    heap_of = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 900, replacement=True, generator=random)
    points = heaps[heap_of] + 0.3 * torch.randn(900, 2, generator=random)
    top, others = points[heap_of == 2], points[heap_of != 2]

    def best(data):
        def denoise(x, t):
            alpha, sigma = (along(value, x) for value in LINEAR.alpha_sigma(t))
            squared = (x[:, None] - alpha[:, None] * data).square().sum(-1)
            clean = (-squared / (2 * sigma**2)).softmax(1) @ data
            return clean, (x - alpha * clean) / sigma

        return denoise

    guide = guided(best(torch.cat([top, others[: len(top) // 5]])), best(points), scale, interval)
    end = samplers.euler(guide, torch.randn(500, 2, generator=random), uniform_grid(30, LINEAR), LINEAR)
    inside = torch.cdist(end, heaps).argmin(1) == 2
    return float(inside.float().mean()), float(end[inside].std(0).mean() / top.std(0).mean())
