import numpy as np
import pytest
import torch

from vqkit.data.image.pixels import PixelArray, pixels_to_tensor


def test_channels():
    values = np.array([[[200, 100, 50, 51]]], np.uint8)
    red, green, blue = 200 / 255, 100 / 255, 50 / 255
    assert pixels_to_tensor(values[..., :3], 255, 3).flatten().tolist() == pytest.approx([red, green, blue])
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    assert pixels_to_tensor(values[..., :3], 255, 1).item() == pytest.approx(gray)
    assert pixels_to_tensor(values, 255, 3).flatten().tolist() == pytest.approx(
        [0.2 * c + 0.8 for c in (red, green, blue)]
    )
    assert pixels_to_tensor(values, 255, 1).item() == pytest.approx(0.2 * gray + 0.8)
    assert pixels_to_tensor(values[..., 2:], 255, 1).item() == pytest.approx(0.2 * blue + 0.8)
    assert pixels_to_tensor(values[..., 0], 255, 3).flatten().tolist() == pytest.approx([red] * 3)
    with pytest.raises(ValueError, match="channels is 2, allowed are 1"):
        pixels_to_tensor(values, 255, 2)


def test_the_memory_is_the_images_own():
    held = PixelArray(np.ones((2, 3, 3), np.float32), white=1.0)
    image = held.image(0, channels=1)
    image.zero_()
    assert torch.equal(held.image(0, channels=1), torch.ones(1, 3, 3))
