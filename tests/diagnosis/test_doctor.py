"""Quantizers broken on purpose, of which the doctor must name the cause and measure a change that cures it; and healthy ones."""

import json
import warnings

import pytest
import torch
from torch import nn

import vqkit
from vqkit import FSQ, IVQ, PVQ, RVQ, VQ, GroupedRVQ, LooC, Quantizer
from vqkit.diagnosis import Cause, Severity
from vqkit.diagnosis.measures import error_share
from vqkit.diagnosis.page import write_page
from vqkit.nn import balanced_rotation
from vqkit.quantize.codebook import Codebook

COUNT = 4096


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def causes(found):
    return {finding.cause for finding in found.findings if finding.severity == Severity.FAULT}


def cure(found, cause):
    """The gain of the finding, in decibels."""
    (finding,) = [finding for finding in found.findings if finding.cause == cause]
    assert finding.gain is not None
    assert finding.gain.before == pytest.approx(found.measures.error)
    return finding.gain.decibels


HEALTHY = {
    "VQ": lambda: VQ(8, 64),
    "RVQ": lambda: RVQ(8, 16, 3),
    "PVQ": lambda: PVQ(8, 16, 4),
    "PVQ shared": lambda: PVQ(8, 16, 4, shared=True),
    "GroupedRVQ": lambda: GroupedRVQ(8, 16, 2, 2),
    "IVQ": lambda: IVQ(12),
    "FSQ": lambda: FSQ(8, [5, 5, 5]),
    "LFQ": lambda: vqkit.LFQ(8, 6),
    "LooC": lambda: LooC(8, 16, 4),
    "cosine": lambda: VQ(8, 32, distance="cosine"),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_quantizer_has_nothing(name):
    quantizer = HEALTHY[name]()
    quantizer.fit(noise(COUNT, quantizer.dim))
    found = vqkit.doctor(quantizer, noise(COUNT, quantizer.dim, seed=1))
    assert found.findings == (), str(found)
    assert found.healthy
    assert "nothing is wrong" in str(found)


def test_a_quantizer_of_maps_is_examined_on_maps():
    quantizer = LooC(8, 16, 4, scale=2).fit(noise(32, 8, 8, 8))
    found = vqkit.doctor(quantizer, noise(64, 8, 8, 8, seed=1))
    # what lies between neighbours follows from them: only contexts can tell
    assert {finding.cause for finding in found.findings} == {Cause.SKEW}
    assert found.measures.vectors == 32 * 64
    assert found.measures.balance[0].shares == pytest.approx((0.5, 0.5), abs=0.05)


def test_a_dead_start():
    quantizer = VQ.paper(8, 64)
    optimizer = torch.optim.SGD(quantizer.parameters(), 0.5)
    vectors = noise(COUNT, 8) + 2
    for batch in vectors.split(64):
        quantizer(batch[None]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = vqkit.doctor(quantizer, vectors)
    assert causes(found) == {Cause.DEAD_START}
    assert cure(found, Cause.DEAD_START) > 2


def test_a_codebook_that_waits_for_its_start():
    found = vqkit.doctor(VQ(8, 64), noise(COUNT, 8) + 1)
    assert causes(found) == {Cause.DEAD_START}
    assert "still wait" in found.findings[0].evidence


@pytest.mark.parametrize(("scale", "shift"), [(8, 0), (1 / 8, 0), (1, 20)])
@pytest.mark.parametrize("make", [lambda: RVQ(8, 16, 3), lambda: FSQ(8, [5, 5, 5])], ids=["RVQ", "FSQ"])
def test_a_scale_that_has_changed(make, scale, shift):
    quantizer = make().fit(noise(COUNT, 8))
    found = vqkit.doctor(quantizer, noise(COUNT, 8, seed=1) * scale + shift)
    assert causes(found) == {Cause.SCALE}
    healthy = vqkit.doctor(quantizer, noise(COUNT, 8, seed=1)).measures.error
    finding = found.findings[0]
    assert finding.gain.after == pytest.approx(healthy, rel=0.15), "normalising gives back what there was"


def test_an_unbalanced_latent():
    # variances of a hundred to one, side by side: the first piece has them all
    vectors = noise(COUNT, 16) * torch.tensor([4.0] * 4 + [0.5] * 12)
    quantizer = PVQ(16, 16, 4).fit(vectors[::2])
    found = vqkit.doctor(quantizer, vectors)
    assert causes(found) == {Cause.BALANCE}
    rotation = balanced_rotation(vectors)
    turned = PVQ(16, 16, 4).fit(vectors[::2] @ rotation)
    expected = error_share(turned.eval(), [vectors[None] @ rotation], [None])
    gain = next(finding.gain for finding in found.findings)
    assert gain.after == pytest.approx(expected, rel=0.05), "the gain is that of doing it"
    assert vqkit.doctor(turned, vectors @ rotation).healthy


def test_pieces_that_see_the_same():
    half = noise(COUNT, 8)
    vectors = torch.cat([half, half + 0.1 * noise(COUNT, 8, seed=1)], dim=1)
    found = vqkit.doctor(PVQ(16, 64, 2).fit(vectors[::2]), vectors)
    assert Cause.BALANCE in causes(found)
    assert found.measures.dependence[0][0] > 1.5  # bits that one piece says of the other


def test_a_codebook_from_too_few_vectors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantizer = VQ(8, 256).fit(noise(100, 8))
    found = vqkit.doctor(quantizer, noise(COUNT, 8, seed=1))
    assert causes(found) == {Cause.TOO_FEW_VECTORS}
    assert "copies" in found.findings[0].evidence
    assert cure(found, Cause.TOO_FEW_VECTORS) > 0.5


def test_too_few_vectors_to_say_anything():
    found = vqkit.doctor(VQ(8, 256).fit(noise(COUNT, 8)), noise(300, 8, seed=1))
    assert found.healthy
    (finding,) = found.findings
    assert finding.cause == Cause.TOO_FEW_VECTORS
    assert "2048 vectors" in finding.change


def test_codes_that_are_equal_are_named_however_few_the_vectors():
    quantizer = VQ(8, 256).fit(noise(COUNT, 8))
    with torch.no_grad():
        quantizer.codebook.weight[64:] = quantizer.codebook.weight[:1] * 50
    found = vqkit.doctor(quantizer, noise(300, 8, seed=1))
    (finding,) = found.findings
    assert finding.cause == Cause.NO_REVIVAL
    assert "191 of 256 codes (codebook) are equal to another code" in finding.evidence


def padded():
    """Sequences of 64, two thirds of which are one vector that a mask hides."""
    mask = torch.arange(64) < torch.tensor([16, 32, 8, 24]).repeat(64)[:, None]
    return torch.where(mask[..., None], noise(256, 64, 8) + 3, -2.0), mask


def test_a_codebook_that_learned_without_its_mask():
    vectors, mask = padded()
    broken = VQ(8, 32).fit(vectors)
    found = vqkit.doctor(broken, vectors, mask)
    assert causes(found) == {Cause.MASK}
    assert "lie on the padding" in found.findings[0].evidence
    assert vqkit.doctor(VQ(8, 32).fit(vectors[mask]), vectors, mask).findings == ()


def test_padding_that_no_mask_hides():
    vectors, _ = padded()
    found = vqkit.doctor(VQ(8, 32).fit(vectors), vectors)
    assert found.findings[0].cause == Cause.MASK
    assert "one and the same vector" in found.findings[0].evidence


class Leaking(VQ):
    """Adds the mean of all vectors of an item, padding too."""

    def _quantize(self, x, mask):
        return super()._quantize(self._moved(x), mask)

    def _encode(self, x, mask):
        return super()._encode(self._moved(x), mask)

    def _moved(self, x):
        return x + self.raw.mean(dim=1, keepdim=True)

    def _checked(self, z, mask, finite):
        self.raw = z.float()
        return super()._checked(z, mask, finite)


def test_a_mask_that_leaks():
    vectors, mask = padded()
    found = vqkit.doctor(Leaking(8, 32).fit(vectors[mask][None]), vectors, mask)
    (finding,) = [finding for finding in found.findings if "masked positions" in finding.evidence]
    assert finding.cause == Cause.MASK
    assert "codes of real vectors depend on padding" in finding.evidence
    assert "a step in training learns from padding" in finding.evidence


def test_codes_that_drifted():
    points = 3 * noise(64, 8)
    vectors = points.repeat(COUNT // 64, 1) + 0.5 * noise(COUNT, 8, seed=1)
    quantizer = VQ(8, 64).fit(vectors)
    with torch.no_grad():  # where the vectors were some steps ago
        quantizer.codebook.weight.copy_(points + 0.5 * noise(64, 8, seed=3))
    found = vqkit.doctor(quantizer, vectors)
    assert causes(found) == {Cause.DRIFT}
    # one step of k-means by hand: what goes when codes move to the means
    codes = quantizer.encode(vectors[None])[0, :, 0]
    table = quantizer.codebook.weight
    sums = torch.zeros_like(table).index_add(0, codes, vectors)
    means = sums / codes.bincount(minlength=64).clamp_min(1)[:, None]
    before, after = (float((vectors - t[codes]).square().sum()) for t in (table, means))
    assert found.measures.books[0].drift == pytest.approx(1 - after / before, abs=0.04)


def test_codes_that_nothing_revives():
    vectors = noise(COUNT, 8)
    quantizer = VQ(8, 64, revive="none").fit(vectors)
    with torch.no_grad():
        quantizer.codebook.weight[:48] += 12  # an encoder that has left them behind
    found = vqkit.doctor(quantizer, vectors)
    assert causes(found) == {Cause.NO_REVIVAL}
    assert 'revive="split"' in found.findings[0].change
    assert "far from every vector" in found.findings[0].evidence
    assert cure(found, Cause.NO_REVIVAL) > 0.4
    assert found.measures.books[0].dead == 48


def test_an_idle_stage():
    vectors = noise(COUNT, 8)
    quantizer = RVQ(8, 16, 3).fit(vectors)
    with torch.no_grad():  # stage dropout that hardly ever let it learn
        quantizer.quantizer.stages[2].codebook.weight.copy_(0.07 + 0.003 * noise(16, 8))
    found = vqkit.doctor(quantizer, vectors)
    assert causes(found) == {Cause.IDLE_STAGE}
    assert found.findings[0].where == ("stage 3",)
    assert found.measures.stages[2].gain_db < 0.1
    assert cure(found, Cause.IDLE_STAGE) > 1


def test_vectors_that_have_nearly_collapsed():
    """A scale far beyond those by which training usually is off."""
    quantizer = VQ(8, 64).fit(noise(COUNT, 8))
    found = vqkit.doctor(quantizer, 0.3 + 1e-4 * noise(COUNT, 8, seed=1))
    assert causes(found) == {Cause.SCALE}
    assert cure(found, Cause.SCALE) > 60


def test_a_latent_of_one_dimension_is_not_off_its_scale():
    """Nothing is wrong with codes that a fit leaves where they are, though a number of its own may shift what little is left."""
    line = noise(COUNT, 1) @ noise(1, 8, seed=1)
    assert vqkit.doctor(RVQ(8, 64, 3).fit(line), line).healthy


def test_vectors_of_which_a_few_are_far_out():
    vectors = noise(COUNT, 8)
    vectors[::100] *= 200
    found = vqkit.doctor(VQ(8, 64).fit(vectors), vectors)
    assert causes(found) == {Cause.OUTLIERS}
    assert 0.99 < found.measures.tail < 1
    assert vqkit.doctor(VQ(8, 64).fit(noise(COUNT, 8)), noise(COUNT, 8)).measures.tail < 0.05


def test_a_table_that_was_filled_twice():
    quantizer = VQ(8, 64).fit(noise(COUNT, 8))
    weight = next(module for module in quantizer.modules() if isinstance(module, Codebook)).weight
    with torch.no_grad():
        weight[32:] = weight[:32]
    found = vqkit.doctor(quantizer, noise(COUNT, 8, seed=1))
    assert causes(found) == {Cause.NO_REVIVAL}
    assert "32 of 64 codes" in found.findings[0].evidence
    assert cure(found, Cause.NO_REVIVAL) > 0.3


def test_a_quantizer_that_is_not_finite():
    quantizer = RVQ(8, 16, 2).fit(noise(COUNT, 8))
    weight = [module for module in quantizer.modules() if isinstance(module, Codebook)][1].weight
    with torch.no_grad():
        weight[3] = torch.nan
    with pytest.raises(
        ValueError, match=r"own .*stages.1.codebook.weight has NaN or Inf in 1 of 16 rows: its training diverged"
    ):
        vqkit.doctor(quantizer, noise(COUNT, 8))


def test_skewed_codes_and_their_real_bytes():
    points = 10 * noise(16, 4)
    place = (-noise(COUNT, seed=1).abs() * 4).long().clamp_min(-15).neg()
    vectors = points[place] + 0.1 * noise(COUNT, 4, seed=2)
    quantizer = VQ(4, 16).fit(vectors)
    with torch.no_grad():
        quantizer.codebook.weight.copy_(points)
    found = vqkit.doctor(quantizer, vectors)
    (finding,) = found.findings
    assert (finding.cause, finding.severity) == (Cause.SKEW, Severity.ADVICE)
    rates = found.rates
    assert rates.nominal == rates.plain == 4
    assert found.measures.effective_bits == pytest.approx(rates.static, abs=0.05)
    assert finding.gain.after == rates.best < 3.3


def test_dependence_of_stages_is_mutual_information():
    """Two codes that are one and the same say all of each other."""

    class Twice(VQ):
        @property
        def code_sizes(self):
            return (self.codebook.num_codes,) * 2

        @property
        def codes_per_stage(self):
            return (1, 1)

        def _encode(self, x, mask):
            return super()._encode(x, mask).expand(*x.shape[:-1], 2)

        def _decode(self, codes, stages):
            return super()._decode(codes[..., :1], 1)

    found = vqkit.doctor(Twice(2, 4).fit(noise(COUNT, 2)), noise(COUNT, 2), trials=False)
    entropy = found.measures.positions[0].entropy_bits
    assert found.measures.dependence[0][1] == pytest.approx(entropy, abs=0.02)


def test_nothing_is_changed_and_nothing_drawn():
    quantizer = RVQ(8, 16, 2).train()
    quantizer(noise(1, 64, 8))
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    state = torch.get_rng_state()
    vqkit.doctor(quantizer, noise(2, 256, 8), torch.arange(256) < torch.tensor([[256], [100]]))
    assert torch.equal(state, torch.get_rng_state())
    assert quantizer.training
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())
    assert not any(module.__dict__.keys() & {"search", "_encode"} for module in quantizer.modules())


def test_record_and_page(tmp_path):
    found = vqkit.doctor(VQ.paper(8, 64), noise(COUNT, 8) + 3)
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["findings"][0]["cause"] == "dead start"
    assert record["findings"][0]["gain"]["decibels"] == pytest.approx(cure(found, Cause.DEAD_START))
    assert record["quantizer"].startswith("VQ(dim=8, codebook_size=64, update='gradient'")
    page = write_page(found, tmp_path / "page.html", title="<script>").read_text()
    assert "&lt;script&gt;" in page
    assert "Fault: dead start" in page
    assert "http" not in page.replace('<html lang="en">', "")


def test_bad_input():
    quantizer = VQ(8, 16)
    with pytest.raises(ValueError, match="max_vectors must be at least 2, got 1"):
        vqkit.doctor(quantizer, noise(9, 8), max_vectors=1)
    with pytest.raises(ValueError, match="no vectors to examine"):
        vqkit.doctor(quantizer, iter([]))
    with pytest.raises(ValueError, match=r"z must be \(batch, \*spatial, 8\)"):
        vqkit.doctor(quantizer, noise(9, 7))
    with pytest.raises(TypeError, match="mask needs one tensor"):
        vqkit.doctor(quantizer, [noise(9, 8)], torch.ones(9, dtype=torch.bool))


def test_every_quantizer_is_examined():
    """Also one without codebook, stages or pieces."""

    class Sign(Quantizer):
        dim, straight_through, codebook_numel, dtype = 4, True, 0, torch.float32
        code_sizes, codes_per_stage = (2,) * 4, (4,)

        def _encode(self, x, mask):
            codes = (x > 0).long()
            return codes if mask is None else torch.where(mask[..., None], codes, -1)

        def _decode(self, codes, stages):
            return torch.where(codes < 0, 0.0, codes * 2.0 - 1) * self.size

        def _quantize(self, x, mask):
            raise NotImplementedError

        def _fit(self, x, iterations):
            self.size.fill_(x.abs().mean())

        def __init__(self):
            super().__init__()
            self.size = nn.Parameter(torch.ones(()), requires_grad=False)

    found = vqkit.doctor(Sign().fit(noise(COUNT, 4)), noise(COUNT, 4))
    assert found.findings == ()
    assert found.measures.effective_bits == pytest.approx(4, abs=0.01)
