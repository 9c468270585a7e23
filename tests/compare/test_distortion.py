import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from vqkit import VQ
from vqkit.compare.distortion import (
    distortion,
    fitted_exponent,
    measured_distortion,
    quantization_coefficient,
    shannon_bound,
    split_codebooks,
    zador_distortion,
)


def gaussian(vectors: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(vectors, dim, generator=torch.Generator().manual_seed(seed))


def test_distortion_of_a_codebook_by_hand():
    q = VQ(2, 2)
    q.codebook.weight.data.copy_(torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
    x = torch.tensor([[0.0, 1.0], [2.0, 2.0], [3.0, 2.0]])
    assert distortion(q, x) == pytest.approx((1 + 0 + 1) / (3 * 2))


def test_panter_dite_is_the_case_of_one_dimension():
    assert zador_distortion(8, 1) == pytest.approx(math.sqrt(3) * math.pi / 2 / 64, rel=1e-12)
    integral = quad(lambda x: norm.pdf(x) ** (1 / 3), -60, 60)[0] ** 3  # its definition: (∫ f^(1/3))³ / 12 K²
    assert zador_distortion(8, 1, variance=2.0) == pytest.approx(2 * integral / 12 / 64, rel=1e-9)


@pytest.mark.parametrize("dim", [2, 4, 8])
def test_zador_is_the_norm_of_the_density(dim):
    """‖f‖ of order d/(d + 2) is a product over dimensions for a white Gaussian."""
    power = dim / (dim + 2)
    one = quad(lambda x: norm.pdf(x) ** power, -60, 60)[0]
    expected = quantization_coefficient(dim) * one ** (dim / power) * 100 ** (-2 / dim)
    assert zador_distortion(100, dim) == pytest.approx(expected, rel=1e-9)


def test_cell_coefficients():
    assert quantization_coefficient(1) == pytest.approx(1 / 12, rel=1e-12)
    # a hexagon of unit side: ∫r² is 5√3/8, its area 3√3/2
    assert quantization_coefficient(2) == pytest.approx((5 * math.sqrt(3) / 8) / (2 * (3 * math.sqrt(3) / 2) ** 2))
    disc = math.pi / 2 / (2 * math.pi**2)  # ∫r²/(2·area²) of a unit disc: below the hexagon
    assert disc < quantization_coefficient(2)
    for dim, lattice in ((3, 0.0785433), (4, 0.0766032), (8, 0.0716821), (24, 0.0657710)):  # Conway & Sloane, table 2.3
        assert quantization_coefficient(dim) < lattice
    assert quantization_coefficient(100_000) == pytest.approx(1 / (2 * math.pi * math.e), rel=1e-3)


def test_shannon_bound_is_the_rate_distortion_function():
    assert 10 * math.log10(shannon_bound(2**6, 2)) == pytest.approx(-3 * 20 * math.log10(2))
    for dim in (1, 2, 4, 8, 16, 1000):
        assert zador_distortion(64, dim) > shannon_bound(64, dim)
    assert zador_distortion(64, 100_000) == pytest.approx(shannon_bound(64, 100_000), rel=1e-3)


@pytest.mark.parametrize("codebook_size", [2, 4, 8])
def test_uniform_source_in_one_dimension(codebook_size):
    """Δ²/12 with Δ = 1/K, exactly optimal; k-means finds it within 3 %."""
    x = torch.rand(65536, 1, generator=torch.Generator().manual_seed(0))
    _, held_out = measured_distortion(x[:32768], x[32768:], codebook_size, iterations=200)
    assert held_out == pytest.approx(1 / codebook_size**2 / 12, rel=0.03)


@pytest.mark.parametrize(("levels", "expected"), [(2, 0.3634), (4, 0.1175), (8, 0.03454)])
def test_gaussian_scalars_reach_the_lloyd_max_quantizer(levels, expected):
    """Max, "Quantizing for minimum distortion" (1960), table I."""
    x = gaussian(131072, 1)
    _, held_out = measured_distortion(x[:65536], x[65536:], levels, iterations=200)
    assert held_out == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("dim", "sizes"), [(1, (4, 8, 16)), (2, (8, 32, 128)), (4, (16, 64, 256))])
def test_gaussian_exponent_is_minus_two_over_d(dim, sizes):
    """Within 15 %: few codes fall short of the limit, and k-means short of the best codebook."""
    x = gaussian(49152, dim)
    points = [measured_distortion(x[:32768], x[32768:], size, iterations=800 // size + 20)[1] for size in sizes]
    assert fitted_exponent(sizes, points) == pytest.approx(-2 / dim, rel=0.15)
    for size, value in zip(sizes, points, strict=True):
        assert value > shannon_bound(size, dim)


@pytest.mark.parametrize(("dim", "size"), [(1, 64), (2, 256)])
def test_splitting_reaches_theory_where_a_random_start_does_not(dim, size):
    """On the vectors of the fit: held out, the few that lie beyond the outermost codes make the figure uncertain."""
    x = gaussian(65536, dim)
    codebooks = split_codebooks(x, size)
    sizes = [q.codebook.num_codes for q in codebooks]
    assert sizes == [2**bits for bits in range(1, len(sizes) + 1)]
    assert sizes[-1] == size
    found = [distortion(q, x) for q in codebooks]
    assert found[-1] == pytest.approx(zador_distortion(size, dim), rel=0.06)
    assert fitted_exponent(sizes[-4:], found[-4:]) == pytest.approx(-2 / dim, rel=0.08)
    random_start, _ = measured_distortion(x, x[:16], size, iterations=25)
    assert random_start > 1.1 * found[-1]


def test_split_codebooks_are_means_and_repeat():
    x = gaussian(512, 3)
    one, two = (split_codebooks(x, 4, iterations=200, seed=1)[-1] for _ in range(2))
    assert torch.equal(one.codebook.weight, two.codebook.weight)
    codes = one.encode(x[None])[0, :, 0]
    for code in range(4):
        torch.testing.assert_close(one.codebook.weight[code].detach(), x[codes == code].mean(dim=0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("largest", [1, 3, 1024])
def test_split_needs_a_power_of_two_and_enough_vectors(largest):
    with pytest.raises(ValueError, match=rf"power of two in 2 … 512 \(the vectors given\), got {largest}"):
        split_codebooks(gaussian(512, 1), largest)


def test_held_out_vectors_cost_more():
    x = gaussian(2048, 8)
    train, test = measured_distortion(x[:1024], x[1024:], 256)
    assert train < 0.7 * test


def test_fitted_exponent_ignores_the_constant():
    sizes = [3, 10, 100, 1000]
    assert fitted_exponent(sizes, [7.5 * size**-0.37 for size in sizes]) == pytest.approx(-0.37, rel=1e-12)


def test_errors():
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        quantization_coefficient(0)
    with pytest.raises(ValueError, match="variance positive, got 4, 1 and 0"):
        shannon_bound(4, 1, 0)
    with pytest.raises(ValueError, match="codebook_size and dim must be at least 1 .* got 0, 1 and 1"):
        zador_distortion(0, 1)
    with pytest.raises(ValueError, match="two different at least, got 2 and 2"):
        fitted_exponent([4, 4], [1.0, 0.5])
    with pytest.raises(ValueError, match="as many sizes as distortions"):
        fitted_exponent([4, 8], [1.0])
    with pytest.raises(ValueError, match=r"must be positive, got \[2, 4\] and \[0.0, 1.0\]"):
        fitted_exponent([2, 4], [0.0, 1.0])
