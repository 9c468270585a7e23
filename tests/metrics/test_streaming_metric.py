"""Two processes give what one gives on all the data."""

import json

import pytest
import torch
from torch import distributed, multiprocessing

from vqkit.metrics import KLD, LSD, SNR, BitRate, CodebookUsage, SpeakerSimilarity, StreamingMetric


class Moments:
    """A stand-in for a speaker embedder."""

    name, min_samples, settings = "moments", 1, {}

    def __call__(self, waveform):
        return torch.stack([waveform.mean(-1), waveform.std(-1), waveform.abs().mean(-1)], dim=-1)


def data():
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(3, 1, 6000, generator=generator)
    estimate = reference + 0.1 * torch.randn(3, 1, 6000, generator=generator)
    codes = torch.stack([torch.randint(-1, k, (3, 50), generator=generator) for k in (16, 4)], -1)
    return estimate, reference, codes


def results(shares):
    """Values after each share of the clips has been added."""
    estimate, reference, codes = data()
    snr, lsd, usage, rate = SNR(), LSD(), CodebookUsage([16, 4]), BitRate()
    kld, speaker = KLD(sample_rate=16000), SpeakerSimilarity(Moments())
    values = []
    for clips in shares:
        if clips:
            for metric in (snr, lsd, kld, speaker):
                metric.update(estimate[clips], reference[clips])
            usage.update(codes[clips])
        for i in clips:
            rate.update(1000 + i, 0.1 * (i + 1))
        values.append(
            [*(metric.compute().item() for metric in (snr, lsd, kld, speaker, rate)), usage.compute().to_dict()]
        )
    return values


def work(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    empty = SNR()
    try:
        empty.compute()
    except ValueError:
        refused = True
    else:
        refused = False
    # rank 1 has nothing in the first round: no warning, no hang, and the stream goes on after a synchronised compute
    values = results([[0], [1]] if rank == 0 else [[], [2]])
    if refused:
        empty.update(torch.ones(1, 1, 10), torch.ones(1, 1, 10))
        values.append(empty.compute().item())
    (folder / f"{rank}.json").write_text(json.dumps(values))
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    multiprocessing.spawn(work, args=(tmp_path,), nprocs=2)
    one = [*results([[0], [1, 2]]), 100.0]
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == one


def test_compute_before_update_is_an_error_and_no_warning():
    with pytest.raises(ValueError, match="lsd has seen no clip: call update before compute"):
        LSD().compute()


def test_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        StreamingMetric()
