"""What every reconstruction metric must do, whatever it measures."""

import copy
import json

import pytest
import torch
from torchmetrics import MetricCollection

from vqkit.metrics import (
    LSD,
    SISDR,
    SNR,
    ChromaSimilarity,
    F0Correlation,
    LogMelPSNR,
    LogMelSSIM,
    MelDistance,
    StreamingMetric,
    VoicingAgreement,
)

METRICS = {
    "snr": SNR,
    "si_sdr": SISDR,
    "lsd": LSD,
    "mel_distance": lambda: MelDistance(24000),
    "log_mel_psnr": lambda: LogMelPSNR(24000),
    "log_mel_ssim": lambda: LogMelSSIM(24000),
    "chroma_similarity": lambda: ChromaSimilarity(24000),
    "f0_correlation": lambda: F0Correlation(24000),
    "voicing_agreement": lambda: VoicingAgreement(24000),
}
PERFECT = {
    "snr": 100.0,
    "si_sdr": 100.0,
    "lsd": 0.0,
    "mel_distance": 0.0,
    "log_mel_psnr": 100.0,
    "log_mel_ssim": 1.0,
    "chroma_similarity": 1.0,
    "f0_correlation": 1.0,
    "voicing_agreement": 1.0,
}
STEPS = {
    "f0_correlation",
    "voicing_agreement",
}  # of held tones: faint noise changes neither their pitch nor that they have one


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]()


def value(metric, *args):
    fresh = copy.deepcopy(metric)
    fresh.reset()
    fresh.update(*args)
    return fresh.compute().item()


def test_name_unit_and_protocol_are_stated(metric):
    protocol = metric.protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert METRICS[protocol["metric"]]().protocol == protocol
    assert protocol["unit"] == metric.unit
    assert protocol["better"] == {True: "higher", False: "lower"}[metric.higher_is_better]
    assert "\n" not in protocol["description"]
    assert isinstance(metric, StreamingMetric)


def test_value_is_a_float32_scalar(metric, music, noisy):
    metric.update(noisy[None], music[None])
    result = metric.compute()
    assert result.shape == ()
    assert result.dtype == torch.float32
    assert result.device.type == "cpu"
    assert metric.compute() is result  # cached until the next update


def test_perfect_reconstruction(metric, music):
    assert value(metric, music[None], music[None]) == pytest.approx(PERFECT[metric.name], abs=1e-6)


def test_silence_reconstructed_as_silence_is_perfect(metric):
    silence = torch.zeros(1, 1, 8000)
    assert value(metric, silence, silence) == pytest.approx(PERFECT[metric.name], abs=1e-6)


def test_silence_on_either_side_is_finite_and_worse(metric, music):
    silence = torch.zeros_like(music)[None]
    sign = 1 if metric.higher_is_better else -1
    for pair in ((silence, music[None]), (music[None], silence)):
        assert sign * value(metric, *pair) < sign * PERFECT[metric.name] - 0.1


def test_more_noise_is_worse(metric, music):
    noise = torch.randn(music.shape, generator=torch.Generator().manual_seed(2))
    values = [value(metric, (music + level * noise)[None], music[None]) for level in (0.0, 1e-3, 1e-2, 1e-1)]
    assert values == sorted(values, reverse=bool(metric.higher_is_better))
    assert len(set(values)) >= (2 if metric.name in STEPS else 4)


def test_padded_batch_equals_clips_alone(metric, music, noisy):
    lengths = [24000, 9001, 12345]
    references = torch.full((3, 2, 24000), torch.nan)  # what lies beyond the length may be anything
    estimates = torch.full((3, 2, 24000), 7.0)
    alone = []
    for i, length in enumerate(lengths):
        clip = slice(24000 - length, 24000)
        references[i, :, :length], estimates[i, :, :length] = music[:, clip], noisy[:, clip]
        alone.append(value(metric, noisy[None, :, clip], music[None, :, clip]))
    expected = sum(alone) / 3  # each clip weighs the same, however long
    assert value(metric, estimates, references, torch.tensor(lengths)) == pytest.approx(expected, rel=1e-6)
    assert value(metric, estimates, references, lengths) == pytest.approx(expected, rel=1e-6)


def test_streaming_equals_all_at_once(metric, music, noisy):
    references = torch.stack([music[:, :12000], music[:, 12000:], music[:, 6000:18000]])
    estimates = torch.stack([noisy[:, :12000], noisy[:, 12000:], noisy[:, 6000:18000]])
    metric.update(estimates[:2], references[:2])
    partial = metric.compute()  # asking does not end the stream
    metric.update(estimates[2:], references[2:])
    assert metric.compute().item() == value(metric, estimates, references)
    assert partial.item() == value(metric, estimates[:2], references[:2])


def test_channels_are_averaged(metric, music, noisy):
    both = value(metric, noisy[None], music[None])
    one, other = (value(metric, noisy[None, i : i + 1], music[None, i : i + 1]) for i in (0, 1))
    assert both == pytest.approx((one + other) / 2, rel=1e-6)


def test_forward_gives_the_batch_and_adds_to_the_stream(metric, music, noisy):
    first, second = metric(noisy[None], music[None]), metric(music[None], music[None])
    assert first.item() == value(metric, noisy[None], music[None])
    assert second.item() == pytest.approx(PERFECT[metric.name], abs=1e-6)
    assert metric.compute().item() == pytest.approx((first.item() + second.item()) / 2, rel=1e-6)


def test_reset_forgets(metric, music, noisy):
    metric.update(noisy[None], music[None])
    metric.reset()
    with pytest.raises(ValueError, match=f"{metric.name} has seen no clip: call update before compute"):
        metric.compute()
    metric.update(music[None], music[None])
    assert metric.compute().item() == pytest.approx(PERFECT[metric.name], abs=1e-6)


def test_nothing_is_learned_from(metric, music, noisy):
    estimate = noisy[None].clone().requires_grad_()
    metric.update(estimate, music[None])
    assert not metric.compute().requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype(metric, music, noisy, dtype):
    estimate, reference = noisy[None].to(dtype), music[None].to(dtype)
    assert value(metric, estimate, reference) == value(metric, estimate.double(), reference.double())


def test_a_collection_with_default_settings_keeps_metrics_apart(metric, music):
    # torchmetrics merges metrics whose states agree after the first batch
    probe = type("Probe", (SNR,), {"name": "probe", "measure": lambda self, e, r: e.abs().amax(-1)})()
    collection = MetricCollection({"metric": metric, "probe": probe})
    collection.update(music[None], music[None])
    collection.update(0.5 * music[None], 0.5 * music[None])
    assert len(collection.compute_groups) == 2


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("side", ["estimate", "reference"])
def test_refuses_what_is_not_finite(metric, music, wrong, side):
    broken = music[None].clone()
    broken[0, 1, 77] = wrong
    with pytest.raises(ValueError, match=f"{metric.name}: {side} of clip 0 has NaN or infinite samples"):
        metric.update(**{"estimate": music[None], "reference": music[None], side: broken})


def test_refused_batch_leaves_the_stream_as_it_was(metric, music, noisy):
    metric.update(noisy[None], music[None])
    before = metric.compute().item()
    bad = torch.stack([music, music.clone().fill_(torch.nan)])
    with pytest.raises(ValueError, match="clip 1"):
        metric.update(bad, bad)
    assert metric.compute().item() == before


def test_refuses_clips_that_are_too_short(metric, music):
    enough = metric.min_samples
    value(metric, music[None, :, :enough], music[None, :, :enough])
    if enough > 1:
        with pytest.raises(ValueError, match=f"clip 0 has {enough - 1} samples, at least {enough} are needed"):
            metric.update(music[None, :, : enough - 1], music[None, :, : enough - 1])
        with pytest.raises(ValueError, match=f"clip 0 has {enough - 1} samples, at least {enough} are needed"):
            metric.update(music[None], music[None], [enough - 1])


def test_refuses_wrong_shapes(metric, music):
    with pytest.raises(ValueError, match=r"estimate \(1, 2, 24000\) and reference \(1, 1, 24000\) differ in shape"):
        metric.update(music[None], music[None, :1])
    with pytest.raises(ValueError, match=r"must be \(batch, channels, samples\), none empty, got \(2, 24000\)"):
        metric.update(music, music)
    with pytest.raises(ValueError, match=r"none empty, got \(0, 2, 24000\)"):
        metric.update(music[None][:0], music[None][:0])


def test_refuses_wrong_types(metric, music):
    with pytest.raises(TypeError, match=r"reference must be a tensor of a float dtype, got torch\.int64"):
        metric.update(music[None], music[None].long())
    with pytest.raises(TypeError, match="estimate must be a tensor of a float dtype, got ndarray"):
        metric.update(music[None].numpy(), music[None])


def test_refuses_wrong_lengths(metric, music):
    wave = music[None]
    with pytest.raises(ValueError, match=r"lengths must have shape \(1,\), got \(2,\)"):
        metric.update(wave, wave, [24000, 24000])
    with pytest.raises(ValueError, match=r"lengths must have shape \(1,\), got \(\)"):
        metric.update(wave, wave, torch.tensor(24000))
    with pytest.raises(ValueError, match=r"length 24001 is outside 1\.\.24000"):
        metric.update(wave, wave, [24001])
    with pytest.raises(ValueError, match=r"length 0 is outside 1\.\.24000"):
        metric.update(wave, wave, torch.tensor([0]))
    with pytest.raises(TypeError, match=r"lengths must be ints, got 0\.5"):
        metric.update(wave, wave, torch.tensor([0.5]))
