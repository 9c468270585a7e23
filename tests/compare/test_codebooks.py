"""What a comparison says of codebooks, against numbers worked out by hand."""

import pytest
import torch

from vqkit import VQ, Interpolated, Residual
from vqkit.compare.codebooks import residual_energy


def book(*codes: tuple[float, ...]) -> VQ:
    quantizer = VQ(len(codes[0]), len(codes))
    with torch.no_grad():
        quantizer.codebook.weight.copy_(torch.tensor(codes))
        quantizer.codebook.initialized.fill_(True)
    return quantizer.eval()


def test_residual_energy_is_what_each_stage_leaves() -> None:
    # 25 + 100 = 125; the first stage leaves (0, 4) and (0, 8): 16 + 64; the second (0, 1) and (0, 2): 1 + 4
    z = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
    quantizer = Residual([book((3.0, 0.0), (6.0, 0.0)), book((0.0, 3.0), (0.0, 6.0))])
    codes = quantizer.encode(z[None])[0]
    assert codes.tolist() == [[0, 0], [1, 1]]
    assert residual_energy(quantizer, z, codes) == pytest.approx([1.0, 80 / 125, 5 / 125])


def test_residual_energy_of_a_grid_takes_each_place_by_itself() -> None:
    quantizer = Interpolated(book((1.0, 0.0), (0.0, 1.0)), scale=2, spatial_dims=2)
    z = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    codes = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1]])
    assert residual_energy(quantizer, z, codes, spatial_dims=2) == pytest.approx([1.0, 2 / 8])
