import math

import pesq
import pytest
import torch
from scipy.signal import resample_poly

from vqkit.metrics import PESQ


def test_equals_the_package_at_its_own_rates(speech, noisy_speech):
    wide, narrow = PESQ(16000), PESQ(16000, band="nb")
    for metric in (wide, narrow):
        metric.update(noisy_speech[None], speech[None])
    r, e = speech[0].double().numpy(), noisy_speech[0].double().numpy()
    assert wide.compute().item() == pytest.approx(pesq.pesq(16000, r, e, "wb"), abs=1e-6)
    assert wide.settings["model_rate"] == 16000
    assert narrow.settings["model_rate"] == 8000
    # P.862 itself can take narrow band at 16 kHz: another path to about the same number
    assert narrow.compute().item() == pytest.approx(pesq.pesq(16000, r, e, "nb"), abs=0.15)


def test_other_rates_are_resampled():
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(1, 1, 48000, generator=generator) * torch.linspace(0, 1, 48000)
    estimate = reference + 0.1 * torch.randn(1, 1, 48000, generator=generator)
    metric = PESQ(48000)
    metric.update(estimate, reference)
    r, e = (resample_poly(wave[0, 0].double().numpy(), 1, 3) for wave in (reference, estimate))
    assert metric.compute().item() == pytest.approx(pesq.pesq(16000, r, e, "wb"), abs=0.02)


def test_lowest_values_are_the_mappings_at_minus_one_half():
    assert PESQ(16000).lowest == pytest.approx(0.999 + 4 / (1 + math.exp(-1.3669 * -0.5 + 3.8224)))
    assert PESQ(8000, band="nb").lowest == pytest.approx(0.999 + 4 / (1 + math.exp(-1.4945 * -0.5 + 4.6607)))


def test_refuses_what_the_package_refuses_and_unknown_bands(speech):
    few = speech[0, :3000].numpy()
    with pytest.raises(ValueError, match="pesq: the clip cannot be scored: Buffer needs to be at least"):
        PESQ(16000).score(few, few)
    with pytest.raises(ValueError, match="band must be 'wb' or 'nb', got 'swb'"):
        PESQ(16000, band="swb")
