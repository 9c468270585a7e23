import json

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import distributed, multiprocessing
from torchmetrics.image.fid import _compute_fid

from vqkit.metrics import FrechetDistance, LogMelStatistics


class Halves:
    """Embeds a clip as rows of 8 samples, so that the test chooses the embeddings."""

    name, dim, min_samples, settings = "rows", 8, 8, {"rows": 8}

    def __call__(self, waveform):
        return waveform.reshape(-1, 8)


def embeddings(seed, rows, shift=0.0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((rows, 8)) @ generator.standard_normal((8, 8)) + shift


def clips(rows):
    return torch.from_numpy(rows).reshape(1, 1, -1)


def distance(e, r):
    metric = FrechetDistance(Halves())
    metric.update(clips(e), clips(r))
    return metric.compute().item()


@pytest.mark.parametrize("rows", [200, 5])  # 5 rows of 8 numbers: singular covariances
def test_equals_scipy_and_torchmetrics(rows):
    e, r = embeddings(0, rows), embeddings(1, rows, shift=3.0)
    means, covariances = [x.mean(0) for x in (e, r)], [np.cov(x, rowvar=False) for x in (e, r)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert distance(e, r) == pytest.approx(expected, rel=1e-4)
    peer = _compute_fid(*(torch.from_numpy(x) for pair in zip(means, covariances, strict=True) for x in pair))
    assert distance(e, r) == pytest.approx(peer.item(), rel=1e-4)


def test_zero_for_the_same_and_the_closed_form_for_a_shift():
    e = embeddings(0, 50)
    assert distance(e, e) == pytest.approx(0.0, abs=1e-6)
    assert distance(e + 2.0, e) == pytest.approx(8 * 2.0**2, rel=1e-6)
    assert distance(2 * (e - e.mean(0)), e - e.mean(0)) == pytest.approx(np.trace(np.cov(e, rowvar=False)), rel=1e-6)


def test_a_matrix_that_eigh_does_not_take_gives_the_same(monkeypatch):
    estimate, reference = embeddings(0, 50), embeddings(1, 50, shift=1.0)
    expected = distance(estimate, reference)

    def fails(matrix):
        raise torch.linalg.LinAlgError("the algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    assert distance(estimate, reference) == pytest.approx(expected, rel=1e-6)


def test_streaming_and_padding_do_not_matter():
    e, r = embeddings(0, 60), embeddings(1, 60)
    whole, parts = FrechetDistance(Halves()), FrechetDistance(Halves())
    whole.update(clips(e), clips(r))
    padded = [torch.full((2, 1, 320), torch.nan, dtype=torch.float64) for _ in (0, 1)]
    for batch, rows in zip(padded, (e, r), strict=True):
        batch[0, 0], batch[1, 0, :160] = torch.from_numpy(rows[:40]).flatten(), torch.from_numpy(rows[40:]).flatten()
    parts.update(*padded, lengths=[320, 160])
    assert parts.compute().item() == pytest.approx(whole.compute().item(), rel=1e-6)


def work(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    e, r = (embeddings(seed, 60)[:40] if rank == 0 else embeddings(seed, 60)[40:] for seed in (0, 1))
    (folder / f"{rank}.json").write_text(json.dumps(distance(e, r)))
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    multiprocessing.spawn(work, args=(tmp_path,), nprocs=2)
    expected = distance(embeddings(0, 60), embeddings(1, 60))
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(expected, rel=1e-6)


def test_is_named_after_its_extractor():
    metric = FrechetDistance(LogMelStatistics(16000))
    protocol = json.loads(json.dumps(metric.protocol, allow_nan=False))
    assert protocol["metric"] == "fd_logmel"
    assert protocol["description"].startswith("FD-logmel: ")
    assert protocol["better"] == "lower"
    assert protocol["settings"]["extractor"] == "logmel"
    assert "FAD" not in json.dumps(protocol)


def test_refuses_too_few_and_wrong_embeddings():
    metric = FrechetDistance(Halves())
    with pytest.raises(ValueError, match="fd_rows has seen 0 embeddings, at least 2 are needed: call update"):
        metric.compute()
    metric.update(torch.ones(1, 1, 8), torch.ones(1, 1, 8))
    with pytest.raises(ValueError, match="fd_rows has seen 1 embeddings, at least 2 are needed"):
        metric.compute()
    with pytest.raises(ValueError, match="fd_rows: clip 0 has 7 samples, at least 8 are needed"):
        metric.update(torch.ones(1, 1, 7), torch.ones(1, 1, 7))
    metric.extractor = type("Wrong", (Halves,), {"__call__": lambda self, waveform: waveform.reshape(-1, 4)})()
    with pytest.raises(ValueError, match=r"the extractor must give finite \(embeddings, 8\), got \(2, 4\)"):
        metric.update(torch.ones(1, 1, 8), torch.ones(1, 1, 8))
