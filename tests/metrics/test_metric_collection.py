import json

import pytest
import torch

from vqkit.metrics import comparison_metrics, reconstruction_metrics

NAMES = {"snr", "lsd", "mel_distance", "log_mel_psnr", "log_mel_ssim", "chroma_similarity"}


@pytest.mark.parametrize("sample_rate", [8000, 16000, 24000, 48000])
def test_every_metric_at_every_rate(music, noisy, sample_rate):
    metrics = reconstruction_metrics(sample_rate)
    metrics.update(music[None], music[None])  # a perfect batch first: equal states must not be merged
    metrics.update(noisy[None], music[None], lengths=[20000])
    values = metrics.compute()
    assert set(values) == NAMES
    for name, value in values.items():
        alone = type(metrics[name])(**({} if name in ("snr", "lsd") else {"sample_rate": sample_rate}))
        alone.update(music[None], music[None])
        alone.update(noisy[None], music[None], lengths=[20000])
        assert value.item() == alone.compute().item()
    assert {json.loads(json.dumps(metric.protocol))["metric"] for metric in metrics.values()} == NAMES


@pytest.mark.parametrize("sample_rate", [8000, 24000, 48000])
def test_what_is_compared_adds_gain_free_heard_and_set_wide_measures(music, noisy, sample_rate):
    metrics, smaller = comparison_metrics(sample_rate), reconstruction_metrics(sample_rate)
    assert set(metrics) == NAMES | {"si_sdr", "kld_vqkit_sounds", "fd_logmel"}
    for collection in (metrics, smaller):
        collection.update(music[None], music[None])
        collection.update(noisy[None], music[None])
    values = metrics.compute()
    assert all(torch.isfinite(value) for value in values.values())
    assert {name: values[name] for name in NAMES} == smaller.compute()
    assert all(metric.protocol["metric"] == name for name, metric in metrics.items())
    for name in ("kld_vqkit_sounds", "fd_logmel"):
        assert metrics[name].protocol["settings"]["sample_rate"] == sample_rate
        assert values[name] > 0
