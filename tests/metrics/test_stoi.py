import pystoi
import pytest
import torch

from vqkit.metrics import STOI


@pytest.mark.parametrize("extended", [False, True])
def test_equals_the_package(speech, noisy_speech, extended):
    metric = STOI(16000, extended=extended)
    metric.update(noisy_speech[None], speech[None])
    # the package resamples by itself, with another filter
    expected = pystoi.stoi(speech[0].double().numpy(), noisy_speech[0].double().numpy(), 16000, extended=extended)
    assert metric.compute().item() == pytest.approx(expected, abs=2e-3)
    assert metric.settings["extended"] is extended
    assert metric.name == ("estoi" if extended else "stoi")


def test_refuses_too_little_speech():
    wave = torch.zeros(1, 1, 16000)
    wave[..., :1600] = torch.randn(1600, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="stoi: the clip cannot be scored: fewer than 30 frames are left"):
        STOI(16000).update(wave, wave)
