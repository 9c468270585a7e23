import pytest
import torch
from plain import VQ

CODES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def hand_made(**options) -> VQ:
    q = VQ(2, 4, **options)
    with torch.no_grad():
        q.codebook.weight.copy_(CODES)
        if q.codebook.ema_sum is not None:
            q.codebook.ema_sum.copy_(CODES)
    return q


def test_losses_worked_out_on_paper():
    q = hand_made(commitment_weight=0.25, codebook_weight=1.0)
    z = torch.tensor([[[0.9, 0.2], [0.0, 0.6]]])  # → (1, 0) and (0, 1); squared errors .01+.04 and .0+.16; mean .21/4
    out = q(z)
    assert out.codes.flatten().tolist() == [1, 2]
    assert out.z_q[0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert out.losses["commitment"].item() == pytest.approx(0.25 * 0.0525)
    assert out.losses["codebook"].item() == pytest.approx(0.0525)
    assert out.loss.item() == pytest.approx(1.25 * 0.0525)


def test_gradients_of_the_losses_go_where_equation_3_says():
    q = hand_made(commitment_weight=0.5, codebook_weight=2.0)
    z = torch.tensor([[[0.9, 0.2]]], requires_grad=True)
    q(z).loss.backward()
    # d/dz 0.5·mean((z − e)²) = 0.5·(z − e) over 2 elements·2; codes: 2·mean → 2·(e − z)
    torch.testing.assert_close(z.grad, torch.tensor([[[0.5 * (-0.1), 0.5 * 0.2]]]))
    expected = torch.zeros(4, 2)
    expected[1] = 2.0 * torch.tensor([0.1, -0.2])
    torch.testing.assert_close(q.codebook.weight.grad, expected)


def test_ema_update_equals_the_formula():
    q = hand_made(update="ema", decay=0.9).train()
    z = torch.tensor([[[0.8, 0.0], [1.0, 0.2], [0.1, 0.9]]])
    count = torch.tensor([1.0, 1.0, 1.0, 1.0])
    total = CODES.clone()
    for _ in range(3):
        assigned = torch.tensor([1, 1, 2])
        count = 0.9 * count + 0.1 * torch.bincount(assigned, minlength=4)
        sums = torch.zeros(4, 2)
        for vector, code in zip(z[0], assigned, strict=True):
            sums[code] += vector
        total = 0.9 * total + 0.1 * sums
        smoothed = (count + 1e-5) / (count.sum() + 4e-5) * count.sum()
        assert q(z).codes.flatten().tolist() == assigned.tolist()
        torch.testing.assert_close(q.codebook.weight, total / smoothed[:, None])
    assert "codebook" not in q(z).losses


def test_ema_statistics_stay_in_float32():
    q = VQ(4, 8, update="ema", revive="restart").to(torch.bfloat16)
    assert q.codebook.weight.dtype == torch.bfloat16
    assert {q.codebook.ema_count.dtype, q.codebook.ema_sum.dtype, q.codebook.usage.dtype} == {torch.float32}
    q.train()(torch.randn(2, 50, 4))


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_a_revived_code_survives_the_step_that_revives_it(update):
    """The known bug: the code is replaced, then the moving average writes the old one back."""
    torch.manual_seed(0)
    q = VQ(2, 4, update=update, revive="restart", decay=0.5).train()
    with torch.no_grad():
        q.codebook.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [100.0, 0.0], [0.0, 100.0]]))
        if update == "ema":
            q.codebook.ema_sum.copy_(q.codebook.weight)
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-3) if update == "gradient" else None
    revived = False
    for _ in range(8):
        z = torch.rand(1, 40, 2)
        out = q(z)
        far = q.codebook.weight.abs().amax(dim=1) > 50
        if not revived and not far.any():
            revived = True
            new = q.codebook.weight.detach()[2:].clone()
            assert all((z[0] == row).all(dim=1).any() for row in new)  # exactly vectors of this batch
            assert (q.codebook.usage[2:] == 1).all()
        if optimizer is not None:
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
        if revived:
            assert (q.codebook.weight.abs() < 2).all()
    assert revived
    used = q.encode(torch.rand(1, 400, 2)).unique()
    assert len(used) == 4


def test_a_split_code_lies_a_tenth_of_the_way_from_a_code_to_a_vector_that_chose_it():
    torch.manual_seed(0)
    q = VQ(3, 4, revive="split", init="uniform", update="gradient", restart_threshold=0.5, decay=0.0).train()
    codes = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [100.0, 0.0, 0.0], [0.0, 100.0, 0.0]])
    with torch.no_grad():
        q.codebook.weight.copy_(codes)
    z = torch.randn(1, 40, 3) + 5 * torch.randint(2, (1, 40, 1)) * torch.eye(3)[0]
    out = q(z)
    ways = codes[out.codes[0, :, 0]] + 0.1 * (z[0] - codes[out.codes[0, :, 0]])
    moved = q.codebook.weight.detach()
    assert torch.equal(moved[:2], codes[:2])
    for code in moved[2:]:
        assert (ways - code).abs().amax(dim=1).min() < 1e-6
    assert not torch.equal(moved[2], moved[3])


def test_splitting_fills_a_codebook_where_vectors_of_the_batch_do_not():
    """In 48 dimensions a vector is nearer to no other vector than their code is: a code that becomes one stays alone."""
    used = {}
    for revive in ("split", "restart"):
        torch.manual_seed(0)
        q = VQ(48, 256, update="ema", init="kmeans", revive=revive).train()
        for _ in range(600):
            q(torch.randn(1, 256, 48))
        used[revive] = len(q.eval().encode(torch.randn(1, 20_000, 48)).unique()) / 256
    assert used["split"] > 0.98 > 0.93 > used["restart"]


@pytest.mark.parametrize("revive", ["split", "restart"])
def test_a_replaced_code_follows_the_vectors_that_it_gets(revive):
    """With the weight of 1/(1 − γ) batches it would stay for a hundred steps where it was put."""
    torch.manual_seed(0)
    q = VQ(2, 2, update="ema", revive=revive, init="uniform", decay=0.99).train()
    codes = torch.tensor([[0.0, 0.0], [1000.0, 0.0]])
    with torch.no_grad():
        q.codebook.weight.copy_(codes)
        q.codebook.ema_sum.copy_(codes * 100)
        q.codebook.ema_count.fill_(100)
        q.codebook.usage.copy_(torch.tensor([1.0, 0.0]))
    groups = torch.tensor([[-10.0, 0.0], [10.0, 0.0]])[torch.arange(200) % 2]
    for _ in range(30):
        q(groups[None] + 3 * torch.randn(1, 200, 2))
    nearest = torch.cdist(groups[:2], q.codebook.weight).amin(dim=1)
    assert nearest.min() < 1


@pytest.mark.parametrize("anchor", ["closest", "random", "probrandom"])
def test_cvq_moves_codes_by_alpha_towards_anchors(anchor):
    torch.manual_seed(0)
    q = hand_made(revive="cvq", anchor=anchor, decay=0.99).train()
    with torch.no_grad():
        q.codebook.usage.copy_(torch.tensor([0.001, 0.002, 0.01, 0.0]))
    before, usage = q.codebook.weight.detach().clone(), q.codebook.usage.clone()
    z = torch.tensor([[[0.1, 0.0], [0.9, 0.1], [5.0, 5.0]]])
    q(z)
    share = torch.tensor([1.0, 1.0, 0.0, 1.0]) / 3
    usage = 0.99 * usage + 0.01 * share * 4  # N_k·K
    alpha = torch.exp(-usage * 10 / (1 - 0.99) - 1e-3)
    torch.testing.assert_close(q.codebook.usage, usage)
    anchors = before + (q.codebook.weight.detach() - before) / alpha[:, None]
    if anchor == "closest":  # nearest batch vector to each code, on paper
        expected = torch.tensor([[0.1, 0.0], [0.9, 0.1], [0.1, 0.0], [0.9, 0.1]])
        torch.testing.assert_close(q.codebook.weight.detach(), before + alpha[:, None] * (expected - before))
    moved = alpha > 1e-3
    for row in anchors[moved]:
        assert (row - z[0]).abs().amax(dim=1).min() < 1e-2


def test_probrandom_draws_from_the_softmax_of_similarity():
    from vqkit.quantize.joint import JointBatch

    torch.manual_seed(0)
    x = torch.tensor([[0.0], [1.0], [2.0]])
    code = torch.tensor([[0.5]])
    expected = torch.softmax(-((x - code) ** 2).flatten(), dim=0)
    batch = JointBatch(x)
    drawn = torch.cat([batch.draw_similar(code.expand(500, 1), "l2") for _ in range(40)])
    frequency = torch.bincount(drawn.flatten().long(), minlength=3) / len(drawn)
    torch.testing.assert_close(frequency, expected, atol=0.015, rtol=0)


def test_kmeans_init_waits_for_the_first_training_batch():
    q = VQ(2, 4, init="kmeans", update="ema")
    z = torch.cat([torch.randn(1, 25, 2) * 0.01 + 10 * i for i in range(4)], dim=1)
    before = q.codebook.weight.clone()
    q.eval()(z)
    assert torch.equal(q.codebook.weight, before)
    assert not q.codebook.initialized
    q.train()(z)
    assert q.codebook.initialized
    assert sorted(q.codebook.weight[:, 0].round().tolist()) == [0.0, 10.0, 20.0, 30.0]


@pytest.mark.parametrize("vectors", [torch.randn(3, 2), torch.zeros(50, 2), torch.ones(1, 2)])
def test_too_few_vectors_give_a_warning_and_distinct_codes(vectors):
    q = VQ(2, 8, init="kmeans").train()
    if len(vectors) < 8:
        with pytest.warns(UserWarning, match=f"k-means of 8 codes from only {len(vectors)} vectors"):
            q(vectors[None])
    else:
        q(vectors[None])
    assert len(q.codebook.weight.unique(dim=0)) == 8


def test_same_codes_as_vector_quantize_pytorch():
    from vector_quantize_pytorch import VectorQuantize

    torch.manual_seed(0)
    for cosine in (False, True):
        peer = VectorQuantize(dim=16, codebook_size=64, use_cosine_sim=cosine).eval()
        q = VQ(16, 64, distance="cosine" if cosine else "l2").eval()
        with torch.no_grad():
            q.codebook.weight.copy_(peer.codebook)
        z = torch.randn(4, 200, 16)
        _, codes, _ = peer(z)
        assert torch.equal(q.encode(z)[..., 0], codes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be a positive integer, got 0"),
        ({"codebook_size": 2.5}, "codebook_size must be a positive integer, got 2.5"),
        ({"update": "adam"}, "update must be one of 'gradient', 'ema', got 'adam'"),
        ({"init": "zeros"}, "init must be one of"),
        ({"revive": "always"}, "revive must be one of 'none', 'split', 'restart', 'cvq'"),
        ({"decay": 1.5}, r"decay must be in 0 … 1, got 1.5"),
        ({"dim": 1, "distance": "cosine"}, "distance='cosine' needs dim > 1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        VQ(**{"dim": 4, "codebook_size": 8, **options})
