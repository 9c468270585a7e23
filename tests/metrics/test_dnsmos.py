import pytest
import torch
from speechmos import dnsmos

from vqkit.metrics import DNSMOS


@pytest.mark.parametrize("score", ["ovrl", "sig", "bak", "p808"])
def test_equals_the_package(speech, noisy_speech, score):
    metric = DNSMOS(16000, score=score)
    metric.update(noisy_speech[None], speech[None])
    expected = dnsmos.run(noisy_speech[0].double().numpy(), 16000)[f"{score}_mos"]
    assert metric.compute().item() == pytest.approx(float(expected), abs=1e-5)


def test_the_reference_is_not_looked_at(speech, noisy_speech):
    one, other = DNSMOS(16000), DNSMOS(16000)
    one.update(noisy_speech[None], speech[None])
    other.update(noisy_speech[None], torch.zeros_like(speech)[None])
    assert one.compute() == other.compute()


def test_samples_beyond_full_scale_are_clamped(speech):
    loud = 3 * speech / speech.abs().max()
    one, other = DNSMOS(16000), DNSMOS(16000)
    one.update(loud[None], loud[None])
    other.update(loud.clamp(-1, 1)[None], loud[None])
    assert one.compute() == other.compute()


def test_refuses_unknown_scores():
    with pytest.raises(ValueError, match="score must be one of ovrl, sig, bak, p808, got 'mos'"):
        DNSMOS(16000, score="mos")
