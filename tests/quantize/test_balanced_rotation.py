import pytest
import torch

from vqkit.quantize.balanced_rotation import balanced_rotation


def test_pieces_are_uncorrelated_and_worth_the_same():
    torch.manual_seed(0)
    mixing = torch.linalg.qr(torch.randn(24, 24))[0] * torch.linspace(3, 0.2, 24)[:, None] @ torch.randn(24, 24)
    x = torch.randn(5000, 24) @ mixing
    rotation = balanced_rotation(x)
    assert torch.allclose(rotation @ rotation.T, torch.eye(24), atol=1e-5)
    covariance = torch.cov((x @ rotation).T)
    variance = covariance.diagonal()
    assert (covariance - variance.diag()).abs().max() < 1e-3 * variance.max()
    ranks = variance.argsort(descending=True).argsort()
    for pieces in (
        2,
        4,
        12,
    ):  # each piece gets every 2nd, 4th, 12th component; the pieces of one of these are those of the other
        shares = ranks.reshape(pieces, -1) % pieces
        assert (shares == shares[:, :1]).all()
        assert shares[:, 0].sort().values.tolist() == list(range(pieces))


@pytest.mark.parametrize(("dim", "pieces"), [(64, 16), (64, 32), (120, 24), (60, 12), (7, 7), (1, 1), (13, 1)])
def test_fine_pieces_of_any_dim_are_balanced(dim, pieces):
    torch.manual_seed(0)
    x = torch.randn(2000, dim) * torch.linspace(2, 0.1, dim)
    rotation = balanced_rotation(x)
    assert torch.allclose(rotation @ rotation.T, torch.eye(dim), atol=1e-5)
    ranks = (x @ rotation).var(dim=0).argsort(descending=True).argsort()
    assert (ranks.reshape(pieces, -1) % pieces).float().std(dim=1, correction=0).max() == 0


def test_too_few_vectors_are_named():
    with pytest.raises(ValueError, match="a rotation of 4 dimensions needs more than 4 vectors, got 4"):
        balanced_rotation(torch.randn(4, 4))
