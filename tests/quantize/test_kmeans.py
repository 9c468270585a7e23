import pytest
import torch
from sklearn.cluster import KMeans

from vqkit import PVQ, RVQ, VQ
from vqkit.quantize.joint import JointBatch
from vqkit.quantize.kmeans import kmeans


def test_same_fixed_point_as_scikit_learn():
    """From the same start, Lloyd's iterations end in the same centroids."""
    torch.manual_seed(0)
    x = torch.randn(600, 5)
    batch = JointBatch(x)
    state = torch.get_rng_state()
    start = batch.sample(12)
    torch.set_rng_state(state)
    ours, counts = kmeans(batch, 12, iterations=300)
    theirs = KMeans(12, init=start.numpy(), n_init=1, max_iter=300, tol=0).fit(x.numpy())
    torch.testing.assert_close(ours, torch.from_numpy(theirs.cluster_centers_), atol=1e-4, rtol=1e-4)
    assert counts.sum() == 600


def test_masked_vectors_have_no_part():
    x = torch.cat([torch.randn(40, 3), torch.full((40, 3), 1e6)])
    real = torch.arange(80) < 40
    torch.manual_seed(1)
    masked, _ = kmeans(JointBatch(x, real), 5, 10)
    torch.manual_seed(1)
    alone, _ = kmeans(JointBatch(x[:40]), 5, 10)
    torch.testing.assert_close(masked, alone)


def test_reseeding_fills_empty_clusters():
    torch.manual_seed(0)
    x = torch.cat([torch.zeros(500, 2), torch.randn(500, 2)])
    _, plain = kmeans(JointBatch(x), 64, 25)
    _, reseeded = kmeans(JointBatch(x), 64, 25, reseed=True)
    assert (reseeded == 0).sum() < (plain == 0).sum()


def test_fit_accepts_tensors_and_iterators_and_leaves_the_generator_alone():
    torch.manual_seed(0)
    x = torch.randn(900, 8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    whole = VQ(8, 16).fit(x)
    q = VQ(8, 16)
    assert not torch.equal(before, torch.get_rng_state())  # constructing draws …
    state = torch.get_rng_state()
    q.fit(chunk.reshape(1, -1, 8) for chunk in x.split(100))
    assert torch.equal(state, torch.get_rng_state())  # … fitting does not
    assert torch.equal(q.codebook.weight, whole.codebook.weight)


def test_fit_samples_uniformly_in_constant_memory():
    from vqkit.quantize.sampling import sample_rows

    torch.manual_seed(0)
    rows = torch.arange(10_000.0)[:, None]
    kept = sample_rows(rows.split(137), 2000)
    assert kept.shape == (2000, 1)
    assert len(kept.unique()) == 2000
    assert abs(kept.mean() - rows.mean()) < 200
    assert (kept.diff(dim=0) > 0).all()


def test_more_stages_and_pieces_lower_the_error():
    torch.manual_seed(0)
    x = torch.randn(2000, 8)

    def error(q):
        return (q.fit(x).eval()(x[None]).z_q[0] - x).square().mean().item()

    errors = [error(RVQ(8, 32, n)) for n in (1, 2, 4)]
    assert errors[0] > 1.3 * errors[1] > 1.3 * 1.3 * errors[2]
    assert error(PVQ(8, 32, 4)) < error(PVQ(8, 32, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("vectors", "dim"), [([1.0], 1), ([1e4], 3), ([0.0], 2), ([-3.0, 500.0, 500.0], 1)])
def test_codes_of_too_few_vectors_differ_in_the_dtype_of_the_table(vectors, dim, dtype):
    """One dimension and few digits leave little room beside a code: 8 bits near 500 are steps of 2."""
    q = VQ(dim, 32, update="gradient").to(dtype).train()  # moving averages would round the codes again
    with pytest.warns(UserWarning, match=f"k-means of 32 codes from only {len(vectors)} vectors"):
        q(torch.tensor(vectors)[None, :, None].expand(1, -1, dim))
    assert q.codebook.weight.dtype == dtype
    assert len(q.codebook.weight.unique(dim=0)) == 32
    assert (q.codebook.weight.float() - torch.tensor(vectors)[0]).abs().amin() <= 0.01 * (1 + abs(vectors[0]))
