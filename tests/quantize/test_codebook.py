import copy

import pytest
import torch

from vqkit import RVQ, VQ
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.joint import JointBatch, packed_clusters

LEARNED = {
    "ema": {"update": "ema"},
    "split": {"revive": "split"},
    "restart": {"revive": "restart"},
    "cvq": {"update": "ema", "revive": "cvq"},
}


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("options", LEARNED.values(), ids=LEARNED)
@pytest.mark.parametrize("init", ["uniform", "kmeans"])
def test_reset_is_what_the_constructor_does(options, init):
    torch.manual_seed(0)
    codebook = Codebook(4, 8, init=init, **options)
    expected = state(codebook)
    with torch.device("meta"):
        other = Codebook(4, 8, init=init, **options)
    other.to_empty(device="cpu")
    torch.manual_seed(0)
    other.reset_parameters()
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())


def test_statistics_are_float32_whatever_the_default():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(
            torch.bfloat16
        )  # as transformers' from_pretrained(dtype=…) does while it builds a model
        q = VQ(4, 8, update="ema", revive="restart")
    finally:
        torch.set_default_dtype(before)
    assert q.codebook.weight.dtype == torch.bfloat16
    assert {q.codebook.usage.dtype, q.codebook.ema_count.dtype, q.codebook.ema_sum.dtype} == {torch.float32}


def test_statistics_that_a_loader_has_cast_come_back_to_float32():
    q = VQ(4, 8, update="ema", revive="restart").train()
    for name in ("usage", "ema_count", "ema_sum"):
        setattr(q.codebook, name, getattr(q.codebook, name).bfloat16())
    q(torch.randn(2, 50, 4))
    assert {q.codebook.usage.dtype, q.codebook.ema_count.dtype, q.codebook.ema_sum.dtype} == {torch.float32}


def test_statistics_follow_to_another_device_and_keep_their_order():
    q = VQ(4, 8, update="ema").half()
    names = list(q.state_dict())
    moved = q.to("meta", torch.bfloat16)
    assert {value.device.type for value in moved.state_dict().values()} == {"meta"}
    assert list(moved.state_dict()) == names
    assert moved.codebook.ema_sum.dtype == torch.float32


@pytest.mark.parametrize("init", ["uniform", "kmeans"])
def test_the_buffer_alone_says_whether_k_means_is_to_come(init):
    torch.manual_seed(0)
    z = torch.randn(1, 400, 2) + 50
    q = VQ(2, 4, init=init, update="ema", decay=1.0).train()
    q(z)
    moved = q.codebook.weight.clone()
    assert (moved.mean() > 40) == (init == "kmeans")
    q(z + 100)
    assert torch.equal(q.codebook.weight, moved) or init == "uniform"
    q.codebook.initialized.fill_(False)  # whoever writes to the buffer is understood, however often
    q(z + 100)
    assert q.codebook.weight.mean() > 140
    q.codebook.initialized = torch.tensor(False)  # … and whoever replaces it
    q(z - 100)
    assert q.codebook.weight.mean() < 0
    assert q.codebook.initialized
    other = copy.deepcopy(q)
    other(z)
    assert other.codebook.weight.mean() < 0


def test_a_known_buffer_is_not_read_again():
    """A read syncs the device, so an initialised codebook is asked once."""
    q = VQ(2, 4, init="kmeans").train()
    q(torch.randn(1, 50, 2))
    assert q.codebook.waits() is False

    class Unreadable(torch.Tensor):
        def __bool__(self):
            raise AssertionError("read")

    flag = torch.ones((), dtype=torch.bool).as_subclass(Unreadable)
    q.codebook.initialized = flag
    with pytest.raises(AssertionError, match="read"):
        q.codebook.waits()
    q.codebook._known = (flag, flag._version)
    for _ in range(3):
        q(torch.randn(1, 50, 2))
    with torch.inference_mode():
        inferred = VQ(2, 4, init="uniform")
    assert inferred.codebook.waits() is False  # inference tensors count no changes; they are read


def test_stage_dropout_of_small_batches_leaves_the_statistics_of_empty_stages():
    torch.manual_seed(0)
    q = RVQ(4, 8, 4, update="ema", revive="restart", stage_dropout=1.0).train()
    last = q.quantizer.stages[-1].codebook
    unseen = 0
    for _ in range(40):
        before = state(last)
        out = q(torch.randn(1, 3, 4))
        if (out.codes[..., -1] == -1).all():
            unseen += 1
            assert all(torch.equal(value, before[name]) for name, value in last.state_dict().items())
        else:
            assert not torch.equal(last.ema_count, before["ema_count"])
    assert unseen > 10


def test_empty_batches_throw_no_code_away():
    """300 batches with nothing real between two real ones: then the second does what it would have done at once."""
    torch.manual_seed(0)
    q = VQ(4, 16, update="ema", revive="restart", init="kmeans").train()
    for _ in range(50):
        q(torch.randn(4, 64, 4))
    other = copy.deepcopy(q)
    for _ in range(300):
        other(torch.randn(1, 8, 4), torch.zeros(1, 8, dtype=torch.bool))
    z = torch.randn(4, 64, 4)
    for one in (q, other):
        torch.manual_seed(1)
        one(z)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in q.state_dict().items())


def test_cvq_s_random_anchors_are_drawn_uniformly():
    """More vectors than codes, but not twice as many: one from each stratum would take some of them always."""
    batch = JointBatch(torch.arange(12.0)[:, None])
    torch.manual_seed(0)
    q = VQ(1, 8, revive="cvq", anchor="random").train()

    def anchors():
        codes = torch.zeros(12, dtype=torch.long)
        return batch.own_rows(
            q.codebook.update_from(
                batch, q.codebook.own_part(batch, packed_clusters(*batch.own_clusters(codes, q.codebook.num_codes)))
            )
        ).flatten()

    drawn = torch.cat([anchors() for _ in range(4000)])
    expected = len(drawn) / 12
    counts = torch.bincount(drawn.long(), minlength=12)
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 31.3  # the 0.1 % point of 11 degrees of freedom
    real = torch.arange(12) % 3 == 1
    masked = JointBatch(torch.arange(12.0)[:, None], real)
    assert set(masked.own_rows(masked.uniform(torch.randint(1 << 60, (500,)))).flatten().tolist()) == {
        1.0,
        4.0,
        7.0,
        10.0,
    }
    pairs = torch.stack([anchors() for _ in range(500)])
    assert (pairs[:, 0] == pairs[:, 1]).float().mean() == pytest.approx(1 / 12, abs=0.04)  # drawn independently
