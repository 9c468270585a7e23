"""What the metrics from other packages have in common: streaming, protocols, silence and refusals."""

import json

import pytest
import torch

from vqkit.metrics import DNSMOS, PESQ, STOI, ViSQOL
from vqkit.metrics.perceptual import resample

METRICS = {
    "pesq": (lambda rate: PESQ(rate), (4.6438887, 1.0427)),
    "stoi": (lambda rate: STOI(rate), (1.0, 0.0)),
    "visqol": (lambda rate: ViSQOL(rate, mode="speech"), (5.0, 1.0)),
}
ALL = {name: make for name, (make, _) in METRICS.items()} | {"dnsmos": lambda rate: DNSMOS(rate)}


def value(metric, *args):
    metric.reset()
    metric.update(*args)
    return metric.compute().item()


@pytest.mark.parametrize("name", ALL)
def test_protocol_states_model_rate_and_package(name):
    protocol = ALL[name](24000).protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert protocol["metric"] == name
    assert protocol["better"] == "higher"
    assert protocol["settings"]["sample_rate"] == 24000
    assert protocol["settings"]["model_rate"] in (10000, 16000)
    assert protocol["settings"]["package"].split()[0] in ("pesq", "pystoi", "visqol-python", "speechmos")


@pytest.mark.parametrize("name", METRICS)
def test_perfect_and_silent_estimates(name, speech):
    make, (perfect, silent) = METRICS[name]
    metric = make(16000)
    assert value(metric, speech[None], speech[None]) == pytest.approx(perfect, abs=1e-4)
    assert value(metric, torch.zeros_like(speech)[None], speech[None]) == pytest.approx(silent, abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_noise_lowers_the_score(name, speech):
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(2))
    metric = ALL[name](16000)
    values = [value(metric, (speech + level * noise)[None], speech[None]) for level in (0.0, 0.01, 0.1)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[2] + 0.1


@pytest.mark.parametrize("name", ALL)
def test_padded_batch_equals_clips_alone(name, speech, noisy_speech):
    samples, short = speech.shape[-1], 28000
    references, estimates = torch.full((2, 1, samples), 9.0), torch.full((2, 1, samples), torch.nan)
    references[0], estimates[0] = speech, noisy_speech
    references[1, :, :short], estimates[1, :, :short] = speech[:, :short], noisy_speech[:, :short]
    metric = ALL[name](16000)
    alone = [
        value(metric, noisy_speech[None], speech[None]),
        value(metric, noisy_speech[None, :, :short], speech[None, :, :short]),
    ]
    assert value(metric, estimates, references, [samples, short]) == pytest.approx(sum(alone) / 2, rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_channels_are_averaged(name, speech, noisy_speech):
    metric = ALL[name](16000)
    both = value(metric, torch.stack([speech[0], noisy_speech[0]])[None], torch.stack([speech[0]] * 2)[None])
    one, other = (value(metric, wave[None], speech[None]) for wave in (speech, noisy_speech))
    assert both == pytest.approx((one + other) / 2, rel=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_silent_reference_is_refused_and_leaves_the_stream_as_it_was(name, speech, noisy_speech):
    metric = ALL[name](16000)
    before = value(metric, noisy_speech[None], speech[None])
    silent = torch.stack([speech, torch.zeros_like(speech)])
    with pytest.raises(ValueError, match=f"{name}: the reference is silent, only sound can be scored"):
        metric.update(torch.stack([noisy_speech, noisy_speech]), silent)
    assert metric.compute().item() == before


@pytest.mark.parametrize("name", ALL)
def test_too_short_is_refused(name, speech):
    metric = ALL[name](16000)
    few = metric.min_samples - 1
    with pytest.raises(ValueError, match=f"{name}: clip 0 has {few} samples, at least {few + 1} are needed"):
        metric.update(speech[None, :, :few], speech[None, :, :few])


def test_resampling_keeps_a_tone_and_its_level():
    time = torch.arange(24000, dtype=torch.float64)
    tone = (2 * torch.pi * 1000 * time / 24000).sin()[None]
    expected = (2 * torch.pi * 1000 * torch.arange(16000, dtype=torch.float64) / 16000).sin()
    ours = torch.from_numpy(resample(tone, 24000, 16000).copy())
    assert ours.shape == (1, 16000)
    assert (ours[0] - expected)[1000:-1000].abs().max() < 1e-4
    assert (resample(tone, 24000, 24000) == tone.numpy()).all()
