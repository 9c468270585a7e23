import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine

from vqkit.metrics import SpeakerSimilarity


class Halves:
    """Means of four stretches of the clip."""

    name, min_samples, settings = "stretches", 4, {"sample_rate": 16000}

    def __call__(self, waveform):
        return waveform.unflatten(-1, (4, -1)).mean(-1)


def waves(seed):
    return torch.randn(3, 2, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def similarity(estimate, reference):
    metric = SpeakerSimilarity(Halves())
    metric.update(estimate, reference)
    return metric.compute().item()


def test_equals_scipy():
    estimate, reference = waves(0), waves(1)
    pairs = zip(estimate.reshape(6, 4, 10).mean(-1).numpy(), reference.reshape(6, 4, 10).mean(-1).numpy(), strict=True)
    assert similarity(estimate, reference) == pytest.approx(np.mean([1 - cosine(e, r) for e, r in pairs]), rel=1e-6)


def test_one_for_the_same_voice_at_any_level_and_minus_one_for_its_opposite():
    wave = waves(0)
    assert similarity(0.3 * wave, wave) == pytest.approx(1.0)
    assert similarity(-wave, wave) == pytest.approx(-1.0)
    assert similarity(1e-9 * wave, wave) == pytest.approx(1.0)


def test_is_named_after_its_embedder():
    protocol = SpeakerSimilarity(Halves()).protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert protocol["metric"] == "speaker_similarity_stretches"
    assert protocol["better"] == "higher"
    assert protocol["settings"] == {"embedder": "stretches", "sample_rate": 16000}


def test_each_clip_weighs_the_same():
    estimate, reference = waves(0), waves(1)
    expected = np.mean([similarity(estimate[i : i + 1], reference[i : i + 1]) for i in range(3)])
    assert similarity(estimate, reference) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda wave: wave.mean(-1), r"the embedder must give \(2, dim\), got \(2,\)"),
        (lambda wave: wave[:1, :4], r"the embedder must give \(2, dim\), got \(1, 4\)"),
        (lambda wave: 0 * wave, "gave NaN, infinity or only zeros, a cosine needs a direction"),
        (lambda wave: wave / 0, "gave NaN, infinity or only zeros"),
    ],
)
def test_refuses_what_is_no_embedding(embed, message):
    metric = SpeakerSimilarity(type("Wrong", (Halves,), {"__call__": lambda self, wave: embed(wave)})())
    with pytest.raises(ValueError, match=f"speaker_similarity_stretches: .*{message}"):
        metric.update(waves(0), waves(1))
    with pytest.raises(ValueError, match="speaker_similarity_stretches has seen no clip"):
        metric.compute()


def test_refuses_clips_that_are_too_short():
    with pytest.raises(ValueError, match="clip 0 has 3 samples, at least 4 are needed"):
        SpeakerSimilarity(Halves()).update(torch.ones(1, 1, 3), torch.ones(1, 1, 3))
