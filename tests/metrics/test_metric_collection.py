import json

import pytest

from vqkit.metrics import reconstruction_metrics

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
