"""Learning apart from the forward, beyond what the contract in training asks of every quantizer."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vqkit import FSQ, RVQ, VQ, Interpolated, LooC, Product


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def learner(**options):
    torch.manual_seed(0)
    return VQ(4, 8, **{"decay": 0.8, "init": "uniform", **options}).train()


def seeded(step):
    torch.manual_seed(1)
    step()


def test_gradient_accumulation_in_words_of_the_formula():
    """Two small batches, one step of the moving averages: γ·N + (1 − γ)·(n₁ + n₂), and the same for the sums."""
    q = VQ(1, 2, init="uniform", revive="none", decay=0.9).train().defer_learning()
    with torch.no_grad():
        q.codebook.weight.copy_(torch.tensor([[0.0], [10.0]]))
        q.codebook.ema_sum.copy_(q.codebook.weight)
    for part in ([1.0, 2.0, 9.0], [3.0, 11.0, 12.0, 10.0]):
        q(torch.tensor(part).reshape(1, -1, 1))
    q.apply_learning()
    torch.testing.assert_close(q.codebook.ema_count, torch.tensor([0.9 + 0.1 * 3, 0.9 + 0.1 * 4]))
    torch.testing.assert_close(q.codebook.ema_sum, torch.tensor([[0.1 * 6], [9 + 0.1 * 42]]))


def test_k_means_starts_for_the_time_being_and_then_from_all_vectors():
    torch.manual_seed(0)
    q = VQ(1, 4, decay=1.0).train().defer_learning()
    q(torch.randn(1, 50, 1) * 0.01 + 1)
    assert (q.codebook.weight - 1).abs().max() < 0.1  # the forward has codes near its vectors
    for centre in (2.0, 3.0, 4.0):
        q(torch.randn(1, 50, 1) * 0.01 + centre)
    q.apply_learning()
    assert sorted(q.codebook.weight.flatten().round().tolist()) == [1, 2, 3, 4]
    after = state(q)
    q(torch.randn(1, 50, 1) - 100)
    q.apply_learning()  # a start is once
    assert torch.equal(q.codebook.weight, after["codebook.weight"])


def test_sequences_of_different_lengths_and_layouts_are_joined():
    one, parts = learner(), learner().defer_learning()
    sequences = [torch.randn(2, 9, 4), torch.randn(1, 30, 4), torch.randn(3, 4, 4)]
    batch, mask = torch.zeros(6, 30, 4), torch.zeros(6, 30, dtype=torch.bool)
    start = 0
    for z in sequences:
        batch[start : start + len(z), : z.shape[1]] = z
        mask[start : start + len(z), : z.shape[1]] = True
        start += len(z)
        parts(z)
    seeded(lambda: one(batch, mask))
    seeded(parts.apply_learning)
    assert same(state(one), state(parts))
    parts(sequences[1].reshape(1, 5, 6, 4))  # a map is a sequence for a quantizer that looks at no neighbours
    parts(sequences[0], torch.ones(2, 9, dtype=torch.bool))
    before = state(parts)
    parts.apply_learning()
    assert not same(before, state(parts))


def test_maps_of_different_sizes_are_joined_where_neighbours_matter():
    torch.manual_seed(0)
    one = LooC(8, 16, 4, scale=2).train()
    parts = copy.deepcopy(one).defer_learning()
    maps = [torch.randn(1, 3, 5, 8), torch.randn(2, 4, 2, 8)]
    batch, mask = torch.zeros(3, 4, 5, 8), torch.zeros(3, 4, 5, dtype=torch.bool)
    batch[:1, :3, :5], mask[:1, :3, :5] = maps[0], True
    batch[1:, :4, :2], mask[1:, :4, :2] = maps[1], True
    for z in maps:
        parts(z)
    seeded(lambda: one(batch, mask))
    seeded(parts.apply_learning)
    assert same(state(one), state(parts))


def test_evaluation_gathers_nothing():
    q = learner().defer_learning()
    q(torch.randn(2, 20, 4))
    q.eval()(torch.randn(2, 20, 4))
    q.encode(torch.randn(2, 20, 4))
    assert len(q._gathered) == 1


def test_learning_goes_on_at_once_after_deferral_ends():
    q = learner().defer_learning()
    before = state(q)
    q(torch.randn(2, 20, 4))
    q.defer_learning(False)
    assert same(before, state(q))
    q(torch.randn(2, 20, 4))
    assert not same(before, state(q))
    with pytest.raises(RuntimeError, match=r"learning is not deferred: call defer_learning\(\) before the forwards"):
        q.apply_learning()


def test_learning_is_applied_in_evaluation_too_and_leaves_the_modes_alone():
    q, other = learner().defer_learning(), learner().defer_learning()
    z = torch.randn(2, 20, 4)
    q(z)
    other(z)
    other.eval()
    seeded(q.apply_learning)
    seeded(other.apply_learning)
    assert same(state(q), state(other))
    assert not other.training
    assert not other.learning


def test_what_is_gathered_is_a_copy():
    q, other = learner().defer_learning(), learner()
    z, mask = torch.randn(2, 20, 4), torch.ones(2, 20, dtype=torch.bool)
    q(z, mask)
    kept = z.clone()
    z.zero_()
    mask.zero_()
    seeded(q.apply_learning)
    seeded(lambda: other(kept))
    assert same(state(q), state(other))


def test_frozen_quantizers_learn_nothing_that_was_gathered():
    q = learner(init="kmeans").defer_learning()
    q(torch.randn(2, 20, 4))
    before = state(q)
    q.freeze().apply_learning()
    assert same(before, state(q))


def test_a_frozen_stage_among_others():
    torch.manual_seed(0)
    q = RVQ(4, 8, 3, init="uniform").train()
    q.quantizer.stages[0].freeze()
    before = state(q)
    q(torch.randn(4, 50, 4))
    moved = {name.split(".")[2] for name, value in q.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"1", "2"}


def test_freezing_reaches_every_part_and_is_copied():
    q = Interpolated(Product.shared(VQ(4, 8), 2), spatial_dims=1).freeze().train()
    for one in (q, copy.deepcopy(q)):
        assert not any(module.learning for module in one.modules() if hasattr(type(module), "learning"))
    q.unfreeze()
    assert all(module.learning for module in q.modules() if hasattr(type(module), "learning"))


@pytest.mark.parametrize("reentrant", [False, True])
def test_accumulation_with_checkpoints_trains_as_the_joined_batch_does(reentrant):
    """Encoder, quantizer and decoder: gradients and tables of two checkpointed halves are those of the whole."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"enc": nn.Linear(6, 4), "q": RVQ(4, 8, 2), "dec": nn.Linear(4, 6)}).train()
    model["q"].fit(torch.randn(200, 4))
    whole, parts = copy.deepcopy(model), copy.deepcopy(model)
    parts["q"].defer_learning()

    def loss(m, x):
        out = m["q"](m["enc"](x))
        return (m["dec"](out.z_q) - x).square().mean() + out.loss

    for step in range(3):
        x = (torch.randn(4, 25, 6) + 1).requires_grad_()
        torch.manual_seed(step)
        whole.zero_grad()
        loss(whole, x).backward()
        parts.zero_grad()
        for half in x.split(2):
            (checkpoint(loss, parts, half, use_reentrant=reentrant) / 2).backward()
        torch.manual_seed(step)
        parts["q"].apply_learning()
        for key in ("enc", "dec"):
            for a, b in zip(whole[key].parameters(), parts[key].parameters(), strict=True):
                torch.testing.assert_close(a.grad, b.grad)
                a.data -= 0.1 * a.grad
                b.data.copy_(a.data)
        for name, value in state(whole["q"]).items():
            torch.testing.assert_close(value, parts["q"].state_dict()[name])


def test_a_recomputation_after_learning_was_applied_is_refused():
    q = learner().defer_learning()
    x = torch.randn(2, 20, 4, requires_grad=True)
    z_q = checkpoint(lambda x: q(x * x).z_q.square(), x, use_reentrant=False)
    q.apply_learning()  # too early: the recomputation would find other tables
    with pytest.raises(RuntimeError, match="already learned from, and would find other codes: call it after backward"):
        z_q.sum().backward()
    fixed = FSQ(4, [5, 5, 5, 5]).train().defer_learning()
    z_q = checkpoint(lambda x: fixed(x).z_q.square(), x, use_reentrant=False)
    fixed.apply_learning()
    z_q.sum().backward()  # nothing there could have changed


def test_deferred_learning_of_a_compiled_quantizer():
    torch._dynamo.reset()
    one, parts = learner(), learner().defer_learning()
    compiled = torch.compile(parts, fullgraph=True, backend="aot_eager")
    z = torch.randn(4, 20, 4)
    for part in z.split(1):
        compiled(part)
    seeded(lambda: one(z))
    seeded(parts.apply_learning)
    for name, value in state(one).items():
        torch.testing.assert_close(value, parts.state_dict()[name])
