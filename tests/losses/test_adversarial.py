import numpy as np
import pytest
import torch

from vqkit.losses import feature_matching, hinge_discriminator, hinge_generator


def tensors(*shapes, grad=False):
    return [torch.randn(shape, requires_grad=grad) for shape in shapes]


def test_hinge_losses_equal_their_formulas():
    real, fake = tensors((2, 5), (2, 3)), tensors((2, 5), (2, 3))
    to_numpy = [[part.numpy().astype(np.float64) for part in parts] for parts in (real, fake)]
    judge = np.mean([np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean() for r, f in zip(*to_numpy, strict=True)])
    codec = np.mean([np.maximum(0, 1 - f).mean() for f in to_numpy[1]])
    assert hinge_discriminator(real, fake).item() == pytest.approx(judge, rel=1e-5)
    assert hinge_generator(fake).item() == pytest.approx(codec, rel=1e-5)


def test_feature_matching_equals_its_formula_and_leaves_the_real_side_alone():
    real = [tensors((2, 4, 3), (2, 5), grad=True), tensors((2, 7), grad=True)]
    fake = [tensors((2, 4, 3), (2, 5), grad=True), tensors((2, 7), grad=True)]
    flat = [[layer.detach().numpy().astype(np.float64) for part in parts for layer in part] for parts in (real, fake)]
    expected = np.mean([np.abs(r - f).mean() / np.abs(r).mean() for r, f in zip(*flat, strict=True)])
    loss = feature_matching(real, fake)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(layer.grad is None for part in real for layer in part)
    assert all(layer.grad.abs().sum() > 0 for part in fake for layer in part)


def test_different_numbers_of_parts_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        hinge_discriminator(tensors((2,)), tensors((2,), (2,)))
