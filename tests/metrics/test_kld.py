import json

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torchmetrics.functional import kl_divergence

from vqkit.metrics import KLD, SoundClassifier


class Softmax:
    """The first four samples are the logits."""

    name, min_samples, settings = "softmax", 4, {"weights": "none"}

    def __call__(self, waveform):
        return waveform[0, :4].softmax(0)


def batch(seed):
    return torch.randn(5, 1, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kld(estimate, reference, **settings):
    metric = KLD(Softmax(), **settings)
    metric.update(estimate, reference)
    return metric.compute().item()


def test_equals_scipy_and_torchmetrics():
    estimate, reference = batch(0), batch(1)
    p, q = reference[:, 0, :4].softmax(-1), estimate[:, 0, :4].softmax(-1)
    assert kld(estimate, reference) == pytest.approx(np.mean(entropy(p.numpy(), q.numpy(), axis=1)), rel=1e-6)
    assert kld(estimate, reference) == pytest.approx(kl_divergence(p, q).item(), rel=1e-6)
    assert kld(reference, reference) == 0.0


def test_what_the_estimate_rules_out_is_finite():
    reference, estimate = torch.tensor([[[0.0, 0, 0, 0]]]), torch.tensor([[[1e3, 0, 0, 0]]])
    expected = 0.25 * np.log(0.25 / 1) + 0.75 * np.log(0.25 / 1e-6)
    assert kld(estimate, reference) == pytest.approx(expected, rel=1e-6)
    assert kld(estimate, reference, eps=1e-3) == pytest.approx(
        0.25 * np.log(0.25) + 0.75 * np.log(0.25 / 1e-3), rel=1e-6
    )


def test_is_named_after_its_classifier():
    protocol = KLD(Softmax()).protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert protocol["metric"] == "kld_softmax"
    assert protocol["unit"] == "nats"
    assert protocol["settings"] == {"eps": 1e-6, "classifier": "softmax", "weights": "none"}


def test_refuses_what_is_no_probability():
    wave = torch.ones(1, 1, 10)
    metric = KLD(type("Logits", (Softmax,), {"__call__": lambda self, waveform: waveform[0, :4]})())
    with pytest.raises(ValueError, match=r"must give probabilities of shape \(classes,\) adding up to 1, .* sum 4"):
        metric.update(wave, wave)
    with pytest.raises(ValueError, match="kld_softmax has seen no clip: call update before compute"):
        metric.compute()
    with pytest.raises(ValueError, match=r"eps must be positive, got 0\.0"):
        KLD(Softmax(), eps=0.0)


def test_the_default_is_the_classifier_that_ships(speech, noisy_speech):
    default, named = KLD(sample_rate=16000), KLD(SoundClassifier(16000))
    p, q = (SoundClassifier(16000)(wave.double()).double().numpy() for wave in (speech, noisy_speech))
    for metric in (default, named):
        metric.update(noisy_speech[None], speech[None])
        assert metric.compute().item() == pytest.approx(entropy(p, q), rel=1e-4)  # a posterior sums to 1 within 1e-6
    assert default.protocol == named.protocol


def test_needs_a_classifier_or_a_sample_rate():
    with pytest.raises(ValueError, match="KLD needs a classifier, or the sample_rate in Hz .* got neither"):
        KLD()
    with pytest.raises(ValueError, match=r"KLD needs a classifier, .* got both \(sample_rate=16000\)"):
        KLD(Softmax(), sample_rate=16000)


def test_more_noise_changes_more_of_what_is_heard(speech):
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    values = []
    for level in (0.0, 0.003, 0.03, 0.3):
        metric = KLD(sample_rate=16000)
        metric.update((speech + level * noise)[None], speech[None])
        values.append(metric.compute().item())
    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[-1] > 0.5


def test_padded_batch_equals_clips_alone(speech, noisy_speech):
    samples, short = speech.shape[-1], 20000
    references, estimates = torch.full((2, 1, samples), 9.0), torch.full((2, 1, samples), torch.nan)
    references[0], estimates[0] = speech, noisy_speech
    references[1, :, :short], estimates[1, :, :short] = speech[:, :short], noisy_speech[:, :short]
    batch, alone = KLD(sample_rate=16000), KLD(sample_rate=16000)
    batch.update(estimates, references, [samples, short])
    for length in (samples, short):
        alone.update(noisy_speech[None, :, :length], speech[None, :, :length])
    assert batch.compute() == alone.compute()
