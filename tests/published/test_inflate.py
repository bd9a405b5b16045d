"""A start for videos: an image model that draws each frame of a repeated image as that image."""

import originals
import pytest
import torch

from lite_sora.published import from_original
from lite_sora.published.inflate import inflate


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("patch_frames", [1, 2])
@pytest.mark.parametrize("name", ["dit", "uvit", "uvit of text"])
def test_a_video_of_one_repeated_frame_gives_that_frames_image(name, patch_frames):
    kind, text_width = name.split()[0], 16 if name == "uvit of text" else 0
    shapes = originals.dit_shapes() if kind == "dit" else originals.uvit_shapes(channels=4, text_width=text_width)
    image_model = from_original(kind, originals.random_state(shapes), heads=3)
    model = inflate(image_model, frames=6, patch_frames=patch_frames)
    x, t = random(2, 4, 8, 8), torch.tensor([30.0, 700.0])
    y = random(2, 77, text_width, seed=1) if text_width else torch.tensor([1, 5])
    image = image_model(x, t, y)
    for frames in {patch_frames, 4, 6}:
        video = model(x[:, :, None].expand(-1, -1, frames, -1, -1), t, y)
        close(video, image[:, :, None].expand(-1, -1, frames, -1, -1))
    other = random(2, 4, 6, 8, 8)  # frames see one another
    changed = other.clone()
    changed[:, :, -1] += 1
    assert (model(changed, t, y) - model(other, t, y))[:, :, 0].abs().max() > 1e-3


def test_inflated_positions_and_all_weights_learn():
    model = inflate(from_original("dit", originals.random_state(originals.dit_shapes()), heads=3), frames=4)
    video = model(random(2, 4, 4, 8, 8), torch.tensor([30.0, 700.0]), torch.tensor([1, 5]))
    video.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_what_cannot_be_inflated_is_a_clear_error():
    image_model = from_original("dit", originals.random_state(originals.dit_shapes()), heads=3)
    with pytest.raises(ValueError, match="only an image model can be inflated"):
        inflate(inflate(image_model, frames=4), frames=8)
    with pytest.raises(ValueError, match="5 frames do not divide into patches of 2"):
        inflate(image_model, frames=5, patch_frames=2)
