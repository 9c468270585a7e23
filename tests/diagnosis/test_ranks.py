"""Two processes of which one has another table: the doctor of each says so; where they agree it says nothing."""

import tempfile
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import vqkit
from vqkit import RVQ


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    torch.manual_seed(0)
    vectors = torch.randn(2048, 4)
    quantizer = RVQ(4, 8, 2).fit(vectors)
    found = []
    for step in range(2):
        if step and rank:
            with torch.no_grad():
                quantizer.quantizer.stages[1].codebook.weight[3] += 1e-3
        own = vectors[rank::2]
        examination = vqkit.doctor(quantizer, own, joint=True, trials=False)
        found.append([(str(finding.cause), list(finding.where)) for finding in examination.findings])
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_ranks_that_differ_are_named(monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, args=(folder,), nprocs=2)
        for rank in range(2):
            synced, unsynced = torch.load(f"{folder}/rank{rank}.pt", weights_only=True)
            assert synced == []
            assert unsynced == [("unsynced ranks", ["quantizer.stages.1.codebook.weight"])]


def test_one_process_compares_nothing():
    from vqkit.diagnosis.probes import different_ranks

    assert different_ranks(RVQ(4, 8, 2)) == {}
    with pytest.raises(TypeError):
        vqkit.doctor(RVQ(4, 8, 2), torch.randn(9, 4), joint=True, mask=torch.ones(9))
