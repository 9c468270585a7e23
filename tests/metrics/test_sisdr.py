import numpy as np
import pytest
import torch

from vqkit.metrics import SISDR


def si_sdr(estimate, reference, **settings):
    metric = SISDR(**settings)
    metric.update(estimate, reference)
    return metric.compute().item()


def test_equals_the_papers_formula(music, noisy):
    values = []
    for e, r in zip(noisy.double().numpy(), music.double().numpy(), strict=True):
        target = (e @ r) / (r @ r) * r
        values.append(10 * np.log10((target @ target) / ((target - e) @ (target - e))))
    assert si_sdr(noisy[None], music[None]) == pytest.approx(np.mean(values), abs=1e-5)


def test_gain_costs_nothing_and_an_offset_only_without_zero_mean(music, noisy):
    assert si_sdr(3 * noisy[None], music[None]) == pytest.approx(si_sdr(noisy[None], music[None]), abs=1e-4)
    assert si_sdr(music[None].double() + 0.1, music[None].double(), zero_mean=True) == 100
    assert si_sdr(music[None] + 0.1, music[None]) < 20


def test_cap_is_a_setting(music):
    assert si_sdr(music[None], music[None], cap_db=60.0) == 60
    assert si_sdr(0 * music[None], music[None], cap_db=60.0) == -60
    with pytest.raises(ValueError, match="cap_db must be positive, got -1"):
        SISDR(cap_db=-1)


def test_silent_estimate_is_not_zero_db(music):
    # torchmetrics alone gives 0 dB
    assert si_sdr(torch.zeros_like(music)[None], music[None]) == -100
