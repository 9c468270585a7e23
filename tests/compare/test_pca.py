import torch

from vqkit import PVQ, RVQ, VQ
from vqkit.compare.pca import code_cloud


def test_the_plane_is_that_of_the_principal_components():
    from sklearn.decomposition import PCA

    torch.manual_seed(0)
    z = torch.randn(300, 6) * torch.tensor([5.0, 3.0, 1.0, 0.5, 0.2, 0.1]) + 7
    q = VQ(6, 16).fit(z).eval()
    codes = q.encode(z[None])[0]
    cloud = code_cloud(q, z, codes)
    theirs = PCA(2).fit(z.numpy()).transform(q.codebook.weight.detach().numpy())
    ours = torch.tensor(cloud["codes"][0]["points"])
    torch.testing.assert_close(ours.abs(), torch.from_numpy(theirs).float().abs(), atol=2e-3, rtol=1e-3)


def test_used_and_unused_codes():
    torch.manual_seed(0)
    q = RVQ(4, 8, 2).eval()
    codes = torch.tensor([[1, 0], [3, 0]])
    cloud = code_cloud(q, torch.randn(2, 4), codes)
    assert [stage["stage"] for stage in cloud["codes"]] == [1, 2]
    assert cloud["codes"][0]["used"] == [i in (1, 3) for i in range(8)]
    assert cloud["codes"][1]["used"] == [i == 0 for i in range(8)]


def test_large_products_are_sampled():
    q = PVQ(8, 64, 4).eval()
    cloud = code_cloud(q, torch.randn(10, 8), q.encode(torch.randn(1, 10, 8))[0])
    assert len(cloud["codes"][0]["points"]) == 256
