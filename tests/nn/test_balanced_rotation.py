import pytest
import torch

from vqkit.nn import balanced_rotation


def test_pieces_are_uncorrelated_and_worth_the_same():
    torch.manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(24, 24))[0] * torch.linspace(3, 0.2, 24)[:, None] @ torch.randn(24, 24)
    x = torch.randn(5000, 24) @ mixing
    rotation = balanced_rotation(x)
    assert torch.allclose(rotation @ rotation.T, torch.eye(24), atol=1e-5)
    covariance = torch.cov((x @ rotation).T)
    variance = covariance.diagonal()
    assert (covariance - variance.diag()).abs().max() < 1e-3 * variance.max()
    pieces = variance.reshape(12, 2)
    assert (pieces[:, 0] > pieces[:, 1]).all()
    assert torch.equal(variance.argsort(descending=True), torch.arange(24).reshape(12, 2).T.flatten())


def test_too_few_vectors_are_named():
    with pytest.raises(ValueError, match="a rotation of 4 dimensions needs more than 4 vectors, got 4"):
        balanced_rotation(torch.randn(4, 4))
