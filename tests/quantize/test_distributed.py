"""Two processes over gloo hold bit-equal codebooks after each step, and equal one process on the joined batch."""

import os
import tempfile

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from vqkit import IVQ, PVQ, RVQ, VQ, LooC, Quantizer

MAKERS = {
    "ema": lambda: VQ(4, 8, update="ema"),
    "kmeans": lambda: VQ(4, 8, update="ema", init="kmeans"),
    "kmeans-few": lambda: VQ(4, 64, init="kmeans"),
    "restart": lambda: VQ(4, 16, update="ema", revive="restart", restart_threshold=0.9, decay=0.5),
    "restart-gradient": lambda: VQ(4, 16, revive="restart", restart_threshold=0.9, decay=0.5),
    "cvq-closest": lambda: VQ(4, 16, revive="cvq", anchor="closest"),
    "cvq-random": lambda: VQ(4, 16, revive="cvq", anchor="random"),
    "cvq-probrandom": lambda: VQ(4, 16, revive="cvq", anchor="probrandom", update="ema"),
    "rvq": lambda: RVQ(4, 8, 3, update="ema", init="kmeans", revive="restart"),
    "pvq-kmeans": lambda: PVQ(4, 8, 2, init="kmeans"),
    "looc": lambda: LooC(4, 8, 2),
    "ivq": lambda: IVQ(12, hierarchy_weight=0, structure_weight=0, init="kmeans", revive="restart"),
}
STEPS = 3


def make(name: str) -> Quantizer:
    torch.manual_seed(0)
    return MAKERS[name]().train()


def batches(dim: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Uneven real lengths, so that the ranks hold different numbers of vectors."""
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(STEPS, 4, 13, dim, generator=generator) + 0.3
    lengths = torch.tensor([13, 9, 13, 4])
    return [(step, torch.arange(13) < lengths[:, None]) for step in z]


def tables(quantizer: Quantizer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in quantizer.state_dict().items()}


def worker(rank: int, folder: str) -> None:
    quantizers = {name: make(name) for name in MAKERS}  # built before the process group exists
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    histories = {}
    for name, quantizer in quantizers.items():
        torch.manual_seed(100 if rank == 0 else 12345)  # what the other rank draws must not matter
        histories[name] = []
        for z, mask in batches(quantizer.dim):
            half = slice(0, 2) if rank == 0 else slice(2, 4)
            quantizer(z[half], mask[half])
            histories[name].append(tables(quantizer))
    quantizers["ema"].eval()
    if rank == 0:  # evaluation and encoding call no collective: one rank alone may do it
        quantizers["ema"](torch.randn(1, 3, 4))
        quantizers["ema"].encode(torch.randn(1, 3, 4))
    torch.save(histories, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def histories():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONWARNINGS"] = "ignore"
        mp.spawn(worker, args=(folder,), nprocs=2)
        del os.environ["PYTHONWARNINGS"]
        yield [torch.load(f"{folder}/rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", MAKERS)
def test_ranks_are_bit_equal_after_each_step(name, histories):
    for one, other in zip(histories[0][name], histories[1][name], strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore:k-means of")
def test_two_ranks_equal_one_process_on_the_joined_batch(name, histories):
    quantizer = make(name)
    torch.manual_seed(100)
    moved = False
    for (z, mask), expected in zip(batches(quantizer.dim), histories[0][name], strict=True):
        before = tables(quantizer)
        quantizer(z, mask)
        for key, value in quantizer.state_dict().items():
            torch.testing.assert_close(value, expected[key], atol=1e-5, rtol=1e-5)
        moved |= any(not torch.equal(before[key], value) for key, value in quantizer.state_dict().items())
    assert moved
