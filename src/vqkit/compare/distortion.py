"""The distortion law D ∝ K^(−2/d): what codebooks of K codes cost on vectors of d dimensions, measured and by high-rate theory.

Conventions
    Distortion is the mean squared error per dimension, ``E ‖x − Q(x)‖² / d``, in units of the variance's own.

References:
    Panter & Dite, "Quantization distortion in pulse-count modulation with nonuniform spacing of levels" (1951): d = 1.
    Zador, "Asymptotic quantization error of continuous signals and the quantization dimension" (1982): the law.
    Linde, Buzo & Gray, "An algorithm for vector quantizer design" (1980): splitting.
    Gersho, "Asymptotically optimal block quantization" (1979), eqs 19 and 31: G_d and its sphere bound.
    Shannon, "Coding theorems for a discrete source with a fidelity criterion" (1959).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize import VQ
from vqkit.quantize.joint import JointBatch
from vqkit.quantize.search import nearest
from vqkit.types import Float

__all__ = [
    "distortion",
    "fitted_exponent",
    "measured_distortion",
    "quantization_coefficient",
    "shannon_bound",
    "split_codebooks",
    "zador_distortion",
]


def distortion(quantizer: VQ, vectors: Float[Tensor, "vectors dim"]) -> float:
    """Mean squared error per dimension of a codebook on some vectors.

    Args:
        quantizer: a fitted codebook.
        vectors: vectors to quantize.

    Returns:
        E ‖x − Q(x)‖² / d.

    Example:
        >>> import torch
        >>> q = VQ(dim=1, codebook_size=2).fit(torch.tensor([[-1.0], [1.0]]))
        >>> distortion(q, torch.tensor([[-1.5], [1.5]]))
        0.25
    """
    quantized = quantizer.decode(quantizer.encode(vectors[None]))[0]
    return float((vectors - quantized).square().mean(dtype=torch.float64))


def measured_distortion(
    train: Float[Tensor, "train dim"],
    test: Float[Tensor, "test dim"],
    codebook_size: int,
    *,
    iterations: int = 25,
    seed: int = 0,
) -> tuple[float, float]:
    """Fit a k-means codebook and measure it on the vectors it was fitted to and on held-out ones.

    Args:
        train: vectors for the fit.
        test: vectors held out from it.
        codebook_size: K.
        iterations: number of iterations of k-means.
        seed: seed of k-means.

    Returns:
        Distortion per dimension on ``train`` and on ``test``. The first is too low, the more so the fewer vectors a code has.

    Example:
        >>> import torch
        >>> x = torch.rand(8192, 1, generator=torch.Generator().manual_seed(0))
        >>> train, test = measured_distortion(x[:4096], x[4096:], 4)
        >>> round(test * 12 * 4**2, 1)  # a uniform source: Δ²/12 with Δ = 1/K
        1.0
    """
    quantizer = VQ(train.shape[1], codebook_size)
    quantizer.fit(train, max_vectors=len(train), iterations=iterations, seed=seed)
    return distortion(quantizer, train), distortion(quantizer, test)


@torch.no_grad()
def split_codebooks(
    vectors: Float[Tensor, "vectors dim"], largest: int, *, iterations: int = 25, seed: int = 0
) -> list[VQ]:
    """K-means codebooks of 2, 4, 8, … codes, each grown from the one before by splitting every code in two (LBG).

    `VQ.fit` starts from vectors drawn at random, as dense as the data; the best codebook spreads wider, as density^(d/(d + 2)). In one or
    two dimensions k-means stops long before it gets from one to the other. Codebooks that grow stay near the best density.

    Args:
        vectors: vectors for the fit.
        largest: codes of the last codebook, a power of two.
        iterations: number of iterations of k-means after each split.
        seed: seed of the directions in which codes split.

    Returns:
        The codebooks, smallest first.

    Raises:
        ValueError: ``largest`` is not a power of two, or there are fewer vectors.

    Example:
        >>> x = torch.randn(4096, 1, generator=torch.Generator().manual_seed(0))
        >>> [round(distortion(q, x), 2) for q in split_codebooks(x, 8)]  # Lloyd and Max: 0.363, 0.118, 0.035
        [0.37, 0.12, 0.04]
    """
    if not 2 <= largest <= len(vectors) or largest & (largest - 1):
        raise ValueError(f"largest must be a power of two in 2 … {len(vectors)} (the vectors given), got {largest}")
    generator = torch.Generator().manual_seed(seed)
    batch, dim = JointBatch(vectors, alone=True), vectors.shape[1]
    codes, centroids = torch.zeros(len(vectors), dtype=torch.long), vectors.mean(dim=0, keepdim=True)
    found = []
    while len(centroids) < largest:
        squares = torch.zeros(len(centroids)).index_add_(0, codes, (vectors - centroids[codes]).square().mean(dim=1))
        spread = (squares / torch.bincount(codes, minlength=len(centroids)).clamp_min(1)).sqrt()
        direction = F.normalize(torch.randn(centroids.shape, generator=generator), dim=1)
        step = direction * spread[:, None] * 0.8  # in one dimension halves an interval: ±Δ/4 with deviation Δ/√12
        centroids = torch.cat([centroids - step, centroids + step])
        for _ in range(iterations):
            counts, sums = batch.cluster(nearest(vectors, centroids), len(centroids))
            centroids = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centroids)
        codes = nearest(vectors, centroids)
        quantizer = VQ(dim, len(centroids))
        quantizer.codebook.weight.copy_(centroids)
        found.append(quantizer.eval())
    return found


def quantization_coefficient(dim: int) -> float:
    """G_d, the normalised second moment of the best cell shape: exact for d = 1 and 2, the sphere lower bound beyond.

    Args:
        dim: d.

    Returns:
        1/12 (an interval) at d = 1, 5/(36√3) (a hexagon) at d = 2, otherwise Γ(d/2 + 1)^(2/d) / (π (d + 2)), which no cell that fills
        space reaches; it tends to 1/(2πe).

    Raises:
        ValueError: ``dim`` is below 1.

    Example:
        >>> [round(quantization_coefficient(d), 4) for d in (1, 2, 4, 8)]
        [0.0833, 0.0802, 0.075, 0.0705]
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    if dim == 2:
        return 5 / (36 * math.sqrt(3))
    return math.exp(2 / dim * math.lgamma(dim / 2 + 1)) / (math.pi * (dim + 2))


def zador_distortion(codebook_size: int, dim: int, variance: float = 1.0) -> float:
    """Distortion per dimension of the best codebook on Gaussian vectors, in the limit of many codes.

    D = G_d · 2π · ((d + 2)/d)^((d + 2)/2) · K^(−2/d) · σ². At d = 1 this is Panter–Dite, √3π/2 · K^(−2) · σ².

    Args:
        codebook_size: K.
        dim: d.
        variance: σ² of each dimension. For correlated vectors det(Σ)^(1/d), the geometric mean of the covariance's eigenvalues.

    Returns:
        D per dimension; for d > 2 a lower bound of it, see `quantization_coefficient`. At few codes it may exceed σ²: no limit yet.

    Raises:
        ValueError: an argument is not positive.

    Example:
        >>> round(zador_distortion(64, dim=1) * 64**2, 4), round(zador_distortion(64, dim=2) * 64, 4)
        (2.7207, 2.0153)
    """
    bound = shannon_bound(codebook_size, dim, variance)
    return quantization_coefficient(dim) * 2 * math.pi * ((dim + 2) / dim) ** ((dim + 2) / 2) * bound


def shannon_bound(codebook_size: int, dim: int, variance: float = 1.0) -> float:
    """Least distortion at log2(K)/d bits a dimension that any coder reaches on white Gaussian vectors: σ² · K^(−2/d).

    Args:
        codebook_size: K.
        dim: d.
        variance: σ² of each dimension.

    Returns:
        D per dimension.

    Raises:
        ValueError: an argument is not positive.

    Example:
        >>> shannon_bound(16, dim=2)  # 2 bits a dimension: 12 dB
        0.0625
    """
    if codebook_size < 1 or dim < 1 or variance <= 0:
        raise ValueError(
            f"codebook_size and dim must be at least 1 and variance positive, got {codebook_size}, {dim} and {variance}"
        )
    return float(variance * codebook_size ** (-2 / dim))


def fitted_exponent(codebook_sizes: Sequence[int], distortions: Sequence[float]) -> float:
    """Exponent a of D ∝ K^a by least squares of log D on log K.

    Args:
        codebook_sizes: K of each point.
        distortions: D of each point.

    Returns:
        The slope; the law says −2/d.

    Raises:
        ValueError: fewer than two different sizes, or a value that has no logarithm.

    Example:
        >>> round(fitted_exponent([2, 4, 8], [0.5, 0.25, 0.125]), 12)
        -1.0
    """
    if len(codebook_sizes) != len(distortions) or len(set(codebook_sizes)) < 2:
        raise ValueError(
            f"need as many sizes as distortions, two different at least, got {len(codebook_sizes)} and {len(distortions)}"
        )
    if min(codebook_sizes) <= 0 or min(distortions) <= 0:
        raise ValueError(f"sizes and distortions must be positive, got {list(codebook_sizes)} and {list(distortions)}")
    x = [math.log(size) for size in codebook_sizes]
    y = [math.log(value) for value in distortions]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / math.fsum((a - mean_x) ** 2 for a in x)
