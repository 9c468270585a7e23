import pytest
import torch
from visqol import VisqolApi

from vqkit.metrics import ViSQOL


def test_speech_equals_the_package(speech, noisy_speech):
    metric = ViSQOL(16000, mode="speech")
    metric.update(noisy_speech[None], speech[None])
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=False)
    expected = api.measure_from_arrays(speech[0].double().numpy(), noisy_speech[0].double().numpy(), 16000).moslqo
    assert metric.compute().item() == pytest.approx(expected, abs=1e-6)


def test_audio_mode_reaches_its_known_best():
    wave = 0.1 * torch.randn(1, 1, 24000, generator=torch.Generator().manual_seed(0))
    metric = ViSQOL(24000)
    metric.update(wave, wave)
    assert metric.compute().item() == pytest.approx(4.732, abs=1e-3)  # as the C++ program's documentation says
    assert metric.settings["model_rate"] == 48000


@pytest.mark.parametrize(("mode", "samples"), [("audio", 24000), ("speech", 8000), ("speech", 1000)])
def test_refuses_what_the_package_cannot_score(mode, samples):
    few = torch.randn(samples, generator=torch.Generator().manual_seed(0)).numpy()
    with pytest.raises(ValueError, match=f"visqol: the clip cannot be scored in mode '{mode}': "):
        ViSQOL(16000, mode=mode).score(few, few)


def test_refuses_unknown_modes():
    with pytest.raises(ValueError, match="mode must be 'audio' or 'speech', got 'music'"):
        ViSQOL(16000, mode="music")
