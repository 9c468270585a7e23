import numpy as np
import pytest
import torch

from vqkit.losses import waveform_l1


def test_is_the_mean_absolute_difference():
    one, other = torch.randn(2, 1, 50), torch.randn(2, 1, 50)
    expected = np.abs(one.numpy().astype(np.float64) - other.numpy()).mean()
    assert waveform_l1(one, other).item() == pytest.approx(expected, rel=1e-5)
    assert waveform_l1(one.bfloat16(), other).dtype == torch.float32


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="must have one shape, got \\(1, 1, 4\\) and \\(1, 2, 4\\)"):
        waveform_l1(torch.zeros(1, 1, 4), torch.zeros(1, 2, 4))
