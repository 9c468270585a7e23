"""What docs/coming-from.md says of vqkit in its tables, row by row; the code blocks are run by test_docs.py."""

import inspect
from pathlib import Path

import pytest
import torch

from vqkit import FSQ, LFQ, PVQ, RVQ, VQ, GroupedRVQ, Projected, QINCo, RandomProjection, ResidualFSQ, Rotated, SimVQ
from vqkit.bitstream import VqkHeader
from vqkit.models import AudioCodec

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
Z = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0))


def bits(quantizer, expected):
    assert quantizer.bits_per_vector == pytest.approx(expected)
    assert quantizer.encode(Z[..., : quantizer.dim]).shape == (2, 50, quantizer.num_codes)


def default(function, **expected):
    found = inspect.signature(function).parameters
    assert {name: found[name].default for name in expected} == expected


def trains(quantizer):
    out = quantizer.train()(Z)
    assert torch.isfinite(out.loss)
    assert out.z_q.shape == Z.shape


def results():
    out = RVQ(16, 8, 3)(Z)
    assert (out.z_q.shape, out.codes.shape, out.loss.ndim) == (Z.shape, (2, 50, 3), 0)
    assert sum(out.losses.values()) == pytest.approx(out.loss.item())


def masked():
    mask = torch.ones(2, 50, dtype=torch.bool)
    mask[1, 30:] = False
    out = VQ(16, 8)(Z, mask)
    assert (out.codes[1, 30:] == -1).all()
    assert (out.z_q[1, 30:] == 0).all()
    assert (out.codes[1, :30] >= 0).all()


def channels():
    feature_map = torch.randn(2, 16, 4, 5)
    assert VQ(16, 8)(feature_map.movedim(1, -1)).codes.shape == (2, 4, 5, 1)
    assert feature_map.movedim(1, -1).data_ptr() == feature_map.data_ptr()  # no copy


def unit():
    q = VQ(16, 8, unit=True).fit(Z)
    assert torch.allclose(q.decode(q.encode(Z)).norm(dim=-1), torch.tensor(1.0))
    cosine = VQ(16, 8, distance="cosine").fit(Z)
    assert torch.equal(cosine.encode(5 * Z), cosine.encode(Z))
    assert torch.equal(cosine.decode(cosine.encode(Z)), cosine.codebook.weight[cosine.encode(Z)[..., 0]])


def frozen():
    q = VQ(16, 8).fit(Z).train()
    before = q.codebook.weight.clone()
    q.freeze()
    q(Z)
    assert torch.equal(q.codebook.weight, before)
    q.unfreeze()
    q(Z + 1)
    assert not torch.equal(q.codebook.weight, before)


def commitment():
    default(VQ, commitment_weight=0.25)
    z = Z.clone().requires_grad_()
    q = VQ(16, 8).fit(Z).train()
    out = q(z)
    assert out.losses["commitment"].item() == pytest.approx(
        0.25 * (Z - out.z_q.detach()).square().mean().item(), rel=1e-4
    )


def bandwidth():
    rvq = RVQ(16, 8, 4)
    assert rvq.decode(rvq.encode(Z), stages=2).shape == Z.shape
    codec = AudioCodec(RVQ(12, 64, 4), sample_rate=8000, num_filters=4, strides=(4, 5)).eval()
    assert codec.encode(torch.zeros(1, 1, 800), kbps=4.8).shape == (1, 2, 40)


def packed_bytes():
    q = PVQ(16, 16, 4)
    assert q.decode(q.encode(Z[0][None])).shape == (1, 50, 16)
    assert VqkHeader(q.code_sizes).num_codes == 4


ROWS = {
    # vector-quantize-pytorch
    "VectorQuantize(dim=, codebook_size=)": lambda: bits(VQ(16, 8), 3),
    "ResidualVQ(dim=, codebook_size=, num_quantizers=)": lambda: bits(RVQ(16, 8, 2), 6),
    "GroupedResidualVQ(…, groups=)": lambda: bits(GroupedRVQ(16, 8, 2, num_groups=2), 12),
    "FSQ(levels, dim=)": lambda: (bits(FSQ(16, [4, 4]), 4), bits(LFQ(16, bits=5), 5)),
    "ResidualFSQ(levels=, num_quantizers=)": lambda: bits(ResidualFSQ(16, [4, 4], 3), 12),
    "SimVQ(dim=, codebook_size=)": lambda: bits(SimVQ(16, 8), 3),
    "RandomProjectionQuantizer(…)": lambda: bits(RandomProjection(16, 8, code_dim=4), 3),
    "quantized, indices, loss = vq(x)": results,
    "indices": results,
    "get_output_from_indices(indices)": lambda: VQ(16, 8).decode(torch.zeros(1, 5, 1, dtype=torch.long)),
    "mask=": masked,
    "channel_last=False": channels,
    "codebook_dim=8": lambda: bits(Projected(16, VQ(8, 8)), 3),
    "use_cosine_sim=True": unit,
    "kmeans_init=True": lambda: (default(VQ, init="kmeans"), trains(VQ(16, 8, init="uniform"))),
    "threshold_ema_dead_code=2": lambda: (default(VQ, restart_threshold=0.2), trains(VQ(16, 8, revive="restart"))),
    "decay=0.8": lambda: (default(VQ, decay=0.98), trains(VQ(16, 8, decay=0.8))),
    "commitment_weight=1.0": commitment,
    "learnable_codebook=True, ema_update=False": lambda: trains(VQ(16, 8, update="gradient")),
    "rotation_trick=True": lambda: (default(VQ, gradient="straight-through"), trains(VQ(16, 8, gradient="rotation"))),
    "directional_reparam=True": lambda: trains(VQ(16, 8, gradient="diveq")),
    "stochastic_sample_codes=True": lambda: trains(VQ(16, 8, assignment="drawn")),
    "orthogonal_reg_weight=": lambda: trains(VQ(16, 8, update="gradient", orthogonality_weight=1.0)),
    "quantize_dropout=True": lambda: trains(RVQ(16, 8, 3, stage_dropout=0.5)),
    "beam_size=": lambda: bits(RVQ(16, 8, 2, beam=4), 6),
    "shared_codebook=True": lambda: bits(RVQ(16, 8, 2, shared=True), 6),
    "implicit_neural_codebook=True": lambda: bits(QINCo(16, 8, 2), 6),
    "sync_codebook=True": lambda: None,  # tests/quantize/test_distributed.py
    "freeze_codebook=True": frozen,
    # encodec
    "ResidualVectorQuantizer(dimension=128, n_q=8, bins=1024)": lambda: default(RVQ.__init__, shared=False),
    "latents (batch, dimension, frames)": channels,
    "codes (n_q, batch, frames)": lambda: None,  # the block below the table
    "bandwidth=": bandwidth,
    "decay=0.99": lambda: default(VQ, decay=0.98, restart_threshold=0.2),
    "the forward of `transformers`": lambda: None,  # tests/models/peers/test_transformers_quantizer.py
    # FAISS
    "IndexFlatL2(d)": lambda: bits(VQ(16, 8), 3),
    "faiss.Kmeans(d, k).train(x)": lambda: VQ(16, 8).fit(Z),
    "ProductQuantizer(d, M, nbits)": lambda: bits(PVQ(16, 2**3, 4), 12),
    "OPQMatrix": lambda: bits(Rotated(PVQ(16, 2**3, 4)), 12),
    "ResidualQuantizer(d, M, nbits)": lambda: bits(RVQ(16, 2**3, 2, beam=2), 6),
    "compute_codes(x)": packed_bytes,
    "vectors (n, d)": packed_bytes,
}


def rows():
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return [line.split("|")[1].strip().lstrip("`") for line in lines if not line.startswith(("| theirs", "|---"))]


def test_every_row_is_tested():
    known = list(ROWS)
    unknown = [row for row in rows() if not any(row.startswith(name) for name in known)]
    assert not unknown
    assert not [name for name in known if not any(row.startswith(name) for row in rows())]


@pytest.mark.parametrize("row", ROWS)
def test_row(row):
    ROWS[row]()
