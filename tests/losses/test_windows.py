"""What the losses over windows share: spectra and features that are computed once."""

import pytest
import torch

from vqkit.losses import BandLevels, CompressedSpectra, LoudnessDisturbance, LowWave, MultiScaleMel

DISTANCES = {
    "band levels": lambda: BandLevels(16000),
    "spectra": CompressedSpectra,
    "loudness": lambda: LoudnessDisturbance(16000),
    "low wave": lambda: LowWave(16000),
    "mel": lambda: MultiScaleMel(16000),
}


@pytest.mark.parametrize("name", DISTANCES)
def test_features_of_one_reference_serve_many_estimates(name):
    distance = DISTANCES[name]().eval()
    random = torch.Generator().manual_seed(0)
    reference = 0.1 * torch.randn(2, 2, 5000, generator=random)
    heard = distance.features(distance.spectra(reference))
    for gain in (0.5, 2.0):
        estimate = (gain * reference + 0.01 * torch.randn(2, 2, 5000, generator=random)).requires_grad_()
        by_features = distance.between(distance.features(distance.spectra(estimate)), heard)
        torch.testing.assert_close(by_features, distance(estimate, reference))
        gradients = [torch.autograd.grad(found, estimate)[0] for found in (by_features, distance(estimate, reference))]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_the_low_wave_is_heard_in_the_spectra_of_loudness():
    loudness = LoudnessDisturbance(16000)
    wave = LowWave(16000, window_samples=loudness.window_samples)
    wavs = [torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    features = [wave.features(loudness.spectra(wav)) for wav in wavs]
    torch.testing.assert_close(wave.between(*features), wave(*wavs))


def test_distances_of_the_same_windows_share_spectra():
    fine, wide = (BandLevels(16000, window_samples=(1024,), num_bands=bands) for bands in (32, 4))
    wavs = [torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    features = [wide.features(fine.spectra(wav)) for wav in wavs]
    torch.testing.assert_close(wide.between(*features), wide(*wavs))
