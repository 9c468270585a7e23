import librosa
import numpy as np
import pytest
import torch

from vqkit.metrics.sound_network import SoundNetwork, log_mel


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = SoundNetwork(5, channels=(4, 6, 8))
    network(torch.rand(8, 64, 64))  # batch statistics that are not those of the start
    return network.eval()


def test_log_mel_is_librosas(speech):
    spectrum = librosa.stft(speech[0].double().numpy(), n_fft=512, hop_length=256, pad_mode="reflect") / 128
    mel = librosa.filters.mel(sr=16000, n_fft=512, n_mels=64, norm=None, dtype=np.float64) @ np.abs(spectrum) ** 2
    expected = (10 * np.log10(np.maximum(mel, 1e-8)) + 80) / 80
    np.testing.assert_allclose(log_mel(speech.double())[0].numpy(), expected, atol=1e-9)


def test_posterior_is_the_mean_over_windows_and_channels(network):
    picture = torch.rand(2, 64, 128, generator=torch.Generator().manual_seed(1))
    windows = torch.stack([picture[c, :, s : s + 64] for c in (0, 1) for s in (0, 32, 64)])
    expected = torch.softmax(network(windows), -1).mean(0)
    torch.testing.assert_close(network.posterior(picture), expected)
    assert network.posterior(picture).sum().item() == pytest.approx(1, abs=1e-6)


def test_a_short_clip_is_filled_up_with_silence(network):
    picture = torch.rand(1, 64, 20, generator=torch.Generator().manual_seed(2))
    filled = torch.cat([picture, torch.zeros(1, 64, 44)], dim=2)
    assert network.posterior(picture).equal(network.posterior(filled))


def test_logits_and_their_shape(network):
    windows = torch.rand(3, 64, 64)
    assert network(windows).shape == (3, 5)
    torch.testing.assert_close(network(windows)[1:2], network(windows[1:2]))  # a window does not depend on its batch
