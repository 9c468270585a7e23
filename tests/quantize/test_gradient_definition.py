"""The gradient of every quantizer equals that of a plain twin, in which ``y + (q − y).detach()`` stands wherever something is rounded."""

import pytest
import torch
from test_contract import LAYOUTS, SYSTEMS, build, latents
from torch import Tensor
from torch.nn import functional as F

from vqkit import (
    FSQ,
    LFQ,
    VQ,
    Bands,
    GainShape,
    Interpolated,
    Multiscale,
    Product,
    Projected,
    Quantizer,
    Residual,
    Rotated,
    Sum,
    System,
)  # fmt: skip
from vqkit.models.bridle.normalised import Normalised


def rounded(y: Tensor, q: Tensor) -> Tensor:
    return y + (q - y).detach()


def inward(quantizer: FSQ | LFQ | Projected, x: Tensor) -> Tensor:
    layer = quantizer.projection.inward
    return x if layer is None else x @ layer.weight.T + layer.bias


def outward(quantizer: FSQ | LFQ | Projected, y: Tensor) -> Tensor:
    layer = quantizer.projection.outward
    return y if layer is None else y @ layer.weight.T + layer.bias


def fsq(quantizer: FSQ, x: Tensor) -> Tensor:
    """Mentzer et al. (2023), appendix A.1; two levels have their boundary at 0."""
    values = []
    for y, levels, scale in zip(inward(quantizer, x).unbind(-1), quantizer.levels, quantizer.scale, strict=True):
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = 0.5 if levels % 2 == 0 else 0.0
        shift = torch.atanh(torch.tensor(offset / half)) if levels > 2 else 0.0
        if quantizer.bound == "clamp":
            pytest.skip("a clamp's gradient has a test of its own, as it is not that of torch.clamp")
        slope = {"tanh": 1.0, "sigmoid": 0.8}[quantizer.bound]
        bounded = torch.tanh(slope * y / scale + shift) * half - offset
        lowest = -(levels // 2)
        values.append(rounded(bounded, bounded.round().clamp(lowest, lowest + levels - 1)) / (levels // 2) * scale)
    return outward(quantizer, torch.stack(values, dim=-1))


def interpolated(quantizer: Interpolated, x: Tensor) -> Tensor:
    n, s = quantizer.spatial_dims, quantizer.scale
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[n]
    fine = F.interpolate(x.movedim(-1, 1), scale_factor=s, mode=mode)
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[n]
    if not quantizer.folded:
        return pool(twin(quantizer.quantizer, fine.movedim(1, -1)).movedim(-1, 1), s).movedim(1, -1)
    # channel-major: the sub-positions of a channel lie side by side
    corners = [(i,) for i in range(s)] if n == 1 else [(i, j) for i in range(s) for j in range(s)]
    if n == 3:
        corners = [(i, j, k) for i in range(s) for j in range(s) for k in range(s)]
    subs = [fine[(..., *(slice(start, None, s) for start in corner))] for corner in corners]
    long = torch.stack(subs, dim=2).flatten(1, 2).movedim(1, -1)
    return twin(quantizer.quantizer, long).unflatten(-1, (x.shape[-1], len(corners))).mean(dim=-1)


def multiscale(quantizer: Multiscale, x: Tensor) -> Tensor:
    """Two scales, means over 2^n positions repeated, then the rest; a grid of odd length ends in smaller cells."""
    n = quantizer.spatial_dims
    assert quantizer.sizes == (1, 2)
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[n]
    odd = [pair for size in reversed(x.shape[1:-1]) for pair in (0, size % 2)]
    filled = F.pad(x.movedim(-1, 1), odd)
    share = pool(F.pad(torch.ones_like(x.movedim(-1, 1)), odd), 2)
    coarse = twin(quantizer.sequence[0], (pool(filled, 2) / share).movedim(1, -1))
    for axis, size in enumerate(x.shape[1:-1], start=1):
        coarse = coarse.repeat_interleave(2, dim=axis).narrow(axis, 0, size)
    return coarse + twin(quantizer.sequence[1], x - coarse)


def twin(quantizer: Quantizer, x: Tensor) -> Tensor:
    if isinstance(quantizer, System):
        return twin(quantizer.quantizer, x)
    if isinstance(quantizer, Rotated):
        return twin(quantizer.quantizer, x @ quantizer.rotation.T) @ quantizer.rotation
    if isinstance(quantizer, Normalised) and not quantizer.through:
        return twin(quantizer.quantizer, x / x.norm(dim=-1, keepdim=True))
    if isinstance(quantizer, Projected):
        y = inward(quantizer, x)
        y = {"none": lambda y: y, "tanh": torch.tanh, "sphere": lambda y: y / y.norm(dim=-1, keepdim=True)}[
            quantizer.bound
        ](y)
        return outward(quantizer, twin(quantizer.quantizer, y))
    if isinstance(quantizer, Sum):
        total = torch.zeros_like(x)
        for branch, maps in zip(quantizer.branches, quantizer.projections, strict=True):
            y = twin(branch, x @ maps.inward.weight.T + maps.inward.bias)
            total = total + y @ maps.outward.weight.T + maps.outward.bias
        return total
    if isinstance(quantizer, Multiscale) and not quantizer.straight_through:
        return multiscale(quantizer, x)
    if isinstance(quantizer, VQ) and not quantizer.straight_through:
        pytest.skip("the other gradients of VQ are formulas with tests of their own")
    if isinstance(quantizer, FSQ):
        return fsq(quantizer, x)
    if isinstance(quantizer, LFQ):
        y = inward(quantizer, x)
        y = y / y.norm(dim=-1, keepdim=True) if quantizer.sphere else y
        signs = torch.where(y > 0, quantizer.scale, -quantizer.scale)
        # a projected value that is far from both signs gets no gradient through them
        near = (y.abs() <= 2 * quantizer.scale) | (quantizer.projection.inward is None or quantizer.sphere)
        return outward(quantizer, rounded(torch.where(near, y, y.detach()), signs))
    if isinstance(quantizer, Interpolated):
        return interpolated(quantizer, x)
    if isinstance(quantizer, Product):
        runs = x.split([piece.dim for piece in quantizer.pieces for _ in range(quantizer.repeats)], dim=-1)
        owners = [piece for piece in quantizer.pieces for _ in range(quantizer.repeats)]
        return torch.cat([twin(piece, run) for piece, run in zip(owners, runs, strict=True)], dim=-1)
    if isinstance(quantizer, Bands):
        parts = x.split([band.dim for band in quantizer.bands], dim=-1)
        return torch.cat([twin(band, part) for band, part in zip(quantizer.bands, parts, strict=True)], dim=-1)
    if quantizer.straight_through:  # of a residual the gradient passes once, not once a stage
        return rounded(x, quantizer.decode(quantizer.encode(x.detach())))
    if isinstance(quantizer, GainShape):
        pytest.skip("a gain and a shape on grids: tested by its formula")
    assert isinstance(quantizer, Residual), f"{type(quantizer).__name__} needs a twin"
    left, total = x, torch.zeros_like(x)
    for stage in quantizer.stages:
        value = twin(stage, left)
        left, total = left - value, total + value
    return total


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_is_that_of_the_plain_twin(name, layout):
    quantizer, z = build(name, layout), latents(layout)
    weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    found = []
    for function in (lambda x: quantizer(x).z_q, lambda x: twin(quantizer, x)):
        quantizer.zero_grad()
        x = z.clone().requires_grad_()
        value = function(x)
        (value * weight).sum().backward()
        grads = {key: p.grad for key, p in quantizer.named_parameters() if p.grad is not None and p.grad.any()}
        found.append((value.detach(), x.grad, grads))
    (value, grad, grads), (twin_value, twin_grad, twin_grads) = found
    torch.testing.assert_close(value, twin_value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, twin_grad, rtol=1e-4, atol=1e-5)
    assert grads.keys() == twin_grads.keys()
    for key, expected in twin_grads.items():
        torch.testing.assert_close(grads[key], expected, rtol=1e-4, atol=1e-4)
