import json

import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

from vqkit.metrics import SpeakerSimilarity, XVectorEmbedder
from vqkit.metrics.perceptual import resample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny WavLM with random weights, saved as a download of a real one lies there."""
    folder = tmp_path_factory.mktemp("wavlm")
    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, tdnn_dim=(8, 8, 8, 8, 16), xvector_output_dim=12,
    )  # fmt: skip
    WavLMForXVector(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def direct(folder, wave):
    """Embedding as transformers' own page computes it."""
    model, extractor = WavLMForXVector.from_pretrained(folder).eval(), Wav2Vec2FeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        embedding = model(**extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")).embeddings
    return torch.nn.functional.normalize(embedding, dim=-1)[0]


def test_equals_transformers_and_torchs_cosine(folder, speech, noisy_speech):
    metric = SpeakerSimilarity(XVectorEmbedder(folder, 16000))
    estimate, reference = noisy_speech[None], speech[None]
    metric.update(estimate, reference)
    expected = torch.nn.CosineSimilarity(dim=0)(direct(folder, noisy_speech[0]), direct(folder, speech[0]))
    assert metric.compute().item() == pytest.approx(expected.item(), abs=1e-5)
    assert metric.compute() < 0.9999


def test_embeds_each_channel_at_the_networks_rate(folder, speech):
    embedder = XVectorEmbedder(folder, 24000)
    stereo = torch.stack([speech[0], speech[0].flip(0)]).double()
    embeddings = embedder(stereo)
    assert embeddings.shape == (2, 12)
    for channel, embedding in zip(resample(stereo, 24000, 16000), embeddings, strict=True):
        expected = direct(folder, torch.from_numpy(channel.copy()).float())
        torch.testing.assert_close(torch.nn.functional.normalize(embedding, dim=0), expected, atol=1e-5, rtol=0)


def test_takes_its_shortest_clip(folder):
    embedder = XVectorEmbedder(folder, 8000)
    assert embedder.min_samples == 4000
    assert embedder(torch.randn(1, 4000, dtype=torch.float64)).isfinite().all()


def test_settings_name_the_weights(folder):
    protocol = SpeakerSimilarity(XVectorEmbedder(folder, 24000)).protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert protocol["metric"] == "speaker_similarity_wavlm_xvector"
    settings = protocol["settings"]
    assert (settings["sample_rate"], settings["model_rate"], settings["dim"]) == (24000, 16000, 12)
    assert settings["weights"] == folder.name
    assert len(settings["sha256"]) == 64


def test_refuses_a_rate_that_is_none(folder):
    with pytest.raises(ValueError, match=r"sample_rate must be positive \(Hz\), got 0"):
        XVectorEmbedder(folder, 0)
