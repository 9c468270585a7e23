"""Parallel, shared, multi-scale and conditioned quantizers against hand-made answers; the code layout of several scales."""

import io

import pytest
import torch
from torch.nn import functional as F

from vqkit import RVQ, VQ, Interpolated, LloydMax, Multiscale, QINCo, Residual, Rotated, Sum
from vqkit.bitstream import VqkHeader, VqkReader, VqkWriter


def error(quantizer, x):
    return float((quantizer.decode(quantizer.encode(x)) - x).square().mean())


def test_a_shared_codebook_learns_once_from_what_all_stages_saw():
    torch.manual_seed(0)
    q = RVQ(3, 4, 2, shared=True, revive="none", init="uniform", decay=0.9).train()
    book = q.quantizer.stages[0].codebook
    with torch.no_grad():
        book.weight.copy_(torch.randn(4, 3))
        book.ema_sum.copy_(book.weight)
    table, count, sums = book.weight.clone(), book.ema_count.clone(), book.ema_sum.clone()
    z = torch.randn(2, 10, 3)
    q(z)
    seen = torch.zeros(4)
    total = torch.zeros(4, 3)
    for vector in z.reshape(-1, 3):
        for _ in range(2):
            k = int((vector - table).square().sum(dim=1).argmin())
            seen[k] += 1
            total[k] += vector
            vector = vector - table[k]
    torch.testing.assert_close(book.ema_count, 0.9 * count + 0.1 * seen)
    torch.testing.assert_close(book.ema_sum, 0.9 * sums + 0.1 * total)


def test_a_shared_codebook_counts_once_and_serves_all_stages():
    torch.manual_seed(0)
    x = torch.randn(1, 3000, 6)
    q = RVQ(6, 32, 4, shared=True).fit(x).eval()
    assert (q.codebook_numel, q.bits_per_vector, len(q.codebooks)) == (192, 20.0, 1)
    codes = q.encode(x)
    errors = [float((q.decode(codes, stages=s) - x).square().mean()) for s in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    wide = RVQ(6, 32, 4, shared=True, beam=8)
    wide.load_state_dict(q.state_dict())
    assert error(wide.eval(), x) < 0.9 * errors[-1]


def test_a_sum_is_its_formula_and_each_gives_its_parts():
    torch.manual_seed(0)
    q, z = Sum(10, [VQ(4, 8), RVQ(3, 8, 2)]).fit(torch.randn(500, 10)).eval(), torch.randn(2, 7, 10)
    expected = torch.zeros_like(z)
    for branch, maps in zip(q.branches, q.projections, strict=True):
        y = F.linear(z, maps.inward.weight, maps.inward.bias)
        expected += F.linear(branch(y).z_q, maps.outward.weight, maps.outward.bias)
    out, parts = q(z), q.each(z)
    torch.testing.assert_close(out.z_q, expected)
    torch.testing.assert_close(parts[0].z_q + parts[1].z_q, out.z_q)
    torch.testing.assert_close(parts[0].loss + parts[1].loss, out.loss)
    torch.testing.assert_close(q.decode(out.codes, stages=1), parts[0].z_q)


def test_the_branches_of_a_sum_together_beat_each_alone():
    torch.manual_seed(0)
    x = torch.randn(3000, 12) @ torch.randn(12, 12)
    both = Sum(12, [VQ(4, 32), RVQ(4, 32, 2)]).fit(x).eval()
    codes = both.encode(x[None])
    first = float((both.decode(codes, stages=1)[0] - x).square().mean())
    assert error(both, x[None]) < 0.7 * first


def test_multiscale_on_paper():
    """Two scales on 4 positions: the mean of each pair, then what is left."""
    coarse, fine = LloydMax(1, 8, scale=4.0), LloydMax(1, 8, scale=4.0)
    q = Multiscale([coarse, fine], sizes=(1, 2)).eval()
    z = torch.tensor([[[1.0], [3.0], [-2.0], [4.0]]])
    codes = q.encode(z)
    assert (codes[0, :, 0] >= 0).tolist() == [True, False, True, False]
    means = q.decode(codes, stages=1)[0, :, 0]
    torch.testing.assert_close(means, torch.tensor([2.0, 2.0, 1.0, 1.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(q.decode(codes), z, atol=0.1, rtol=0)
    assert q.bits_per_vector == 12.0
    masked = q.encode(z, torch.tensor([[False, True, True, True]]))
    assert (masked[0] >= 0).tolist() == [[False, False], [True, True], [True, True], [False, True]]
    torch.testing.assert_close(q.decode(masked, stages=1)[0, 1, 0], torch.tensor(3.0), atol=0.1, rtol=0)


@pytest.mark.parametrize(("size", "dims"), [((11,), 1), ((5, 7), 2), ((3, 2, 4), 3)])
def test_packed_codes_are_invertible_complete_and_go_through_a_file(size, dims):
    torch.manual_seed(0)
    q = Multiscale([VQ(4, 8), RVQ(4, 16, 2), VQ(4, 5)], sizes=(1, 3, 4), spatial_dims=dims).eval()
    codes = q.encode(torch.randn(1, *size, 4))
    packed = q.pack(codes)
    assert packed.shape[1:] == (*(-(-n // 4) for n in size), 1 + 2 * 3**dims + 4**dims)
    assert (packed >= 0).all()
    assert (packed < torch.tensor(q.packed_sizes)).all()
    assert torch.equal(q.unpack(packed, size), codes)
    end = sum(q.packed_per_stage[:2])
    assert torch.equal(q.unpack(packed[..., :end], size), codes[..., :2])
    rows, file = packed.reshape(-1, packed.shape[-1]), io.BytesIO()
    with VqkWriter(file, VqkHeader(code_sizes=q.packed_sizes, codes_per_stage=q.packed_per_stage)) as writer:
        writer.write(rows)
    read = VqkReader(io.BytesIO(file.getvalue())).read().reshape(packed.shape)
    assert torch.equal(q.decode(q.unpack(read, size)), q.decode(codes))


def test_qinco_starts_as_a_residual_quantizer_and_its_networks_improve_on_it():
    torch.manual_seed(0)
    x = torch.randn(4000, 6).cumsum(dim=1).sin()
    q = QINCo(6, 16, 3, hidden=32, candidates=8).fit(x).eval()
    plain = RVQ(6, 16, 3).fit(x).eval()
    assert error(q, x[None]) < 0.98 * error(plain, x[None])
    codes = q.encode(x[None])
    torch.testing.assert_close(q.decode(codes, stages=1), q.tables[0].decode(codes[..., :1]))
    wide = QINCo(6, 16, 3, hidden=32, candidates=16, beam=8)
    wide.load_state_dict(q.state_dict())
    assert error(wide.eval(), x[None]) < error(q, x[None])
    kept = (q.encode(x[None], rate_weight=0.01) >= 0).sum(dim=-1)
    assert 1 <= kept.min() < kept.max() == 3


def test_a_balanced_rotation_is_a_fit_of_rotated():
    torch.manual_seed(0)
    x = torch.randn(2000, 8) @ torch.randn(8, 8)
    q = Rotated(RVQ(8, 16, 2), method="balanced").fit(x)
    turned = x @ q.rotation.T
    off = torch.cov(turned.T) - torch.cov(turned.T).diagonal().diag()
    assert off.abs().max() < 1e-3 * torch.cov(turned.T).diagonal().max()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sum(8, [VQ(4, 8)]), "at least two; got 1"),
        (lambda: Sum(8, [VQ(8, 8), Interpolated(VQ(8, 8))]), "put Interpolated around the Sum"),
        (lambda: Multiscale([VQ(4, 8)], sizes=(2, 1)), r"sizes must ascend, got \[2, 1\]"),
        (lambda: Multiscale([VQ(4, 8)] * 2, sizes=(1, 2)), "scales must be one quantizer or 2 different ones"),
        (lambda: QINCo(4, 8, 2, beam=2000), "beam must be at most 1024, got 2000"),
        (lambda: RVQ(4, [8, 4], 2, shared=True), "a shared codebook has one size"),
        (lambda: Residual([Interpolated(VQ(4, 8))], repeats=2), "put Interpolated around the Residual"),
        (lambda: Rotated(VQ(4, 8), method="pca"), "method must be one of 'procrustes', 'balanced', got 'pca'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
