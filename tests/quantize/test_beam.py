"""Beam search and the choice of stages, against exhaustive search and arithmetic."""

import itertools

import pytest
import torch

from vqkit import FSQ, PVQ, RVQ, VQ, GroupedRVQ, QINCo, Residual, SimVQ
from vqkit.quantize.beam import best_prefixes, cheapest_prefix, cut_to_stages


def trained(beam: int = 1, stages: int = 3, size: int = 6, dim: int = 4, **options) -> RVQ:
    torch.manual_seed(0)
    return RVQ(dim, size, stages, beam=beam, **options).fit(torch.randn(2000, dim)).eval()


def error(quantizer, z, codes):
    return (quantizer.decode(codes) - z).square().sum(dim=-1)


def test_a_beam_as_wide_as_all_codes_is_the_exhaustive_search():
    z = torch.randn(1, 50, 4)
    q = trained(beam=36)
    every = torch.tensor(list(itertools.product(range(6), repeat=3)))
    values = q.decode(every[None])[0]
    best = (z[0][:, None] - values).square().sum(dim=-1)
    assert torch.equal(q.encode(z)[0], every[best.argmin(dim=1)])


def test_wider_beams_are_better_and_beam_one_is_greedy():
    z = torch.randn(1, 2000, 8)
    errors = []
    for beam in (1, 2, 4, 16):
        q = trained(beam, stages=4, size=32, dim=8)
        assert torch.equal(q(z).codes, q.encode(z))
        errors.append(error(q, z, q.encode(z)).mean().item())
    assert errors[0] > errors[1] > errors[2] > errors[3]
    greedy, residual = trained(1, stages=4, size=32, dim=8), z
    for stage in greedy.quantizer.stages:
        residual = residual - stage.decode(stage.encode(residual))
    torch.testing.assert_close(residual.square().sum(dim=-1), error(greedy, z, greedy.encode(z)))


def test_the_errors_of_the_prefixes_are_those_of_their_codes():
    q, x = trained(beam=5), torch.randn(300, 4)
    prefixes, errors = best_prefixes(q.quantizer.stages, x, 5)
    for number, prefix in enumerate(prefixes):
        assert prefix.shape == (300, number + 1)
        torch.testing.assert_close(error(q, x[None], prefix[None])[0], errors[:, number], atol=1e-5, rtol=1e-4)
    assert (errors.mean(dim=0).diff() < 0).all()


def test_chunks_change_nothing(monkeypatch):
    q, x = trained(beam=4), torch.randn(1, 100, 4)
    whole = q.encode(x)
    monkeypatch.setattr("vqkit.quantize.beam.CHUNK_SCORES", 64 * 7)
    assert torch.equal(q.encode(x), whole)


def test_training_with_a_beam_learns_and_reaches_a_lower_error():
    z = torch.randn(4, 500, 6)
    found = {}
    for beam in (1, 8):
        torch.manual_seed(1)
        q = RVQ(6, 16, 3, beam=beam).train()
        for _ in range(40):
            out = q(z)
        assert torch.equal(q.eval()(z).z_q, q.decode(q.encode(z)))
        found[beam] = (out.z_q - z).square().mean().item()
    assert found[8] < 0.97 * found[1]


def test_stage_dropout_under_a_beam_keeps_the_best_prefix_of_each_length():
    z = torch.randn(64, 5, 4)
    q = trained(beam=6, stage_dropout=1.0)
    q.freeze()
    torch.manual_seed(0)
    codes = q.train()(z).codes
    kept = (codes >= 0).sum(dim=-1)
    assert set(kept.flatten().tolist()) == {1, 2, 3}
    prefixes, _ = best_prefixes(q.quantizer.stages, z.reshape(-1, 4), 6)
    for number in (1, 2, 3):
        chosen = kept.flatten() == number
        assert torch.equal(codes.reshape(-1, 3)[chosen, :number], prefixes[number - 1][chosen])


def test_the_cheapest_prefix_on_paper():
    errors = torch.tensor([[4.0, 3.0, 0.0], [4.0, 3.9, 3.8], [1.0, 0.0, 0.0]])
    assert cheapest_prefix(errors, [2.0, 4.0, 6.0], 0.0).tolist() == [3, 3, 2]
    assert cheapest_prefix(errors, [2.0, 4.0, 6.0], 0.4).tolist() == [3, 1, 2]
    assert cheapest_prefix(errors, [2.0, 4.0, 6.0], 5.0).tolist() == [1, 1, 1]
    prefixes = [torch.tensor([[5], [6], [7]]), torch.tensor([[1, 2], [3, 4], [5, 6]])]
    assert cut_to_stages(prefixes, torch.tensor([2, 1, 1])).tolist() == [[1, 2], [6, -1], [7, -1]]


@pytest.mark.parametrize(
    "make", [trained, lambda: trained(beam=4), lambda: GroupedRVQ(4, 8, 3, 2).fit(torch.randn(900, 4)).eval()]
)
def test_a_rate_weight_spends_bits_where_they_help(make):
    torch.manual_seed(3)
    q, z = make(), torch.randn(1, 800, 4) * torch.linspace(0.05, 2, 800)[None, :, None]
    bits, errors = [], []
    for weight in (0.0, 0.01, 0.05, 100.0):
        codes = q.encode(z, rate_weight=weight)
        bits.append((codes >= 0).float().sum().item())
        errors.append(error(q, z, codes).mean().item())
    assert bits[0] > bits[1] > bits[2] > bits[3]
    assert errors[0] < errors[1] < errors[2] < errors[3]
    assert (q.encode(z, rate_weight=100.0)[..., 0] >= 0).all()  # a first stage always remains
    # at an equal number of codes, choosing beats cutting all vectors at one stage
    cut = error(q, z, q.encode(z)[..., : q.stage_ends[1]]).mean().item()
    fair = [
        w
        for w in torch.logspace(-4, 1, 60).tolist()
        if (q.encode(z, rate_weight=w) >= 0).sum() <= 800 * q.stage_ends[1]
    ]
    assert error(q, z, q.encode(z, rate_weight=min(fair))).mean().item() < cut


def test_masked_positions_stay_masked_at_any_rate():
    q, z = trained(beam=3), torch.randn(2, 10, 4)
    mask = torch.arange(10)[None].expand(2, 10) < 7
    for codes in (q.encode(z, mask), q.encode(z, mask, rate_weight=0.1)):
        assert (codes[:, 7:] == -1).all()
        assert (codes[:, :7, 0] >= 0).all()


def test_sim_vq_offers_candidates():
    torch.manual_seed(0)
    x = torch.randn(3000, 4)
    stages = [SimVQ(4, 16, seed=seed) for seed in range(3)]
    greedy = Residual(stages).fit(x).eval()
    beam = Residual(stages, beam=8).eval()
    assert error(beam, x[None], beam.encode(x[None])).mean() < error(greedy, x[None], greedy.encode(x[None])).mean()


def test_what_cannot_be_searched_or_cut_is_refused():
    with pytest.raises(
        ValueError, match="beam=4 needs stages that offer several codes for a vector, as VQ does; got FSQ"
    ):
        Residual([FSQ(4, [5, 5]), FSQ(4, [5, 5], scale=0.2)], beam=4)
    with pytest.raises(ValueError, match="beam must be a positive integer, got 0"):
        RVQ(4, 8, 2, beam=0)
    with pytest.raises(ValueError, match="beam must be at most 1024, got 1025"):
        RVQ(4, 8, 2, beam=1025)
    z = torch.randn(1, 5, 4)
    with pytest.raises(ValueError, match="VQ has no stages to leave out: rate_weight needs a Residual"):
        PVQ(4, 8, 2).encode(z, rate_weight=0.1)
    with pytest.raises(ValueError, match="rate_weight must be at least 0 and finite, got -1"):
        trained().encode(z, rate_weight=-1)
    with pytest.raises(ValueError, match=r"codebook_size must be one number or 3, one a stage, got \[4, 2\]"):
        RVQ(4, [4, 2], 3)


def test_sizes_may_differ_by_stage():
    q = RVQ(4, [16, 8, 4], 3)
    assert q.code_sizes == (16, 8, 4)
    assert q.stage_bits == (4.0, 7.0, 9.0)
    assert isinstance(q.quantizer.stages[0], VQ)


def _qinco():
    torch.manual_seed(0)
    return QINCo(4, 6, 3, beam=6).fit(torch.randn(2000, 4), iterations=3).eval()


@pytest.mark.parametrize(
    "make", [lambda: trained(beam=6), lambda: GroupedRVQ(4, 6, 3, 2, beam=6).fit(torch.randn(900, 4)).eval(), _qinco]
)
def test_first_stages_are_the_best_so_many_not_the_beginning_of_more(make):
    """What is best for all stages begins with worse codes; a rate weight of 0 asks for the same search."""
    q, z = make(), torch.randn(1, 500, 4)
    for stages in (1, 2):
        codes = q.encode(z, stages=stages)
        free = q.encode(z, stages=stages, rate_weight=0.0)
        whole = (free >= 0).all(dim=-1)  # others leave out a stage that would add to their error
        assert whole.float().mean() > 0.5
        assert torch.equal(free[whole], codes[whole])
        assert (error(q, z, free) <= error(q, z, codes) + 1e-5).all()
        assert error(q, z, codes).mean() < error(q, z, q.first_stages(q.encode(z), stages)).mean()
    assert torch.equal(q.encode(z, stages=3), q.encode(z))
    cut = q.encode(z, stages=2, rate_weight=0.1)
    assert cut.shape[-1] == q.stage_ends[1]
    assert (cut < 0).any()


@pytest.mark.parametrize("stages", [True, False, 0, 4])
def test_no_such_number_of_stages(stages):
    q, z = trained(), torch.randn(1, 5, 4)
    for call in (
        lambda: q.encode(z, stages=stages),
        lambda: q.encode(z, stages=stages, rate_weight=0.1),
        lambda: q.decode(q.encode(z), stages=stages),
        lambda: q.first_stages(q.encode(z), stages),
    ):
        with pytest.raises(ValueError, match=f"stages must be in 1 … 3, got {stages}"):
            call()
