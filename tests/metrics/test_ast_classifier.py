import json

import pytest
import torch
from scipy.stats import entropy
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from vqkit.metrics import KLD, ASTClassifier
from vqkit.metrics.perceptual import resample

FRAMES = 128  # 1.29 s: 127 hops of 160 samples and a frame of 400

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # of AST's extractor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny AST with random weights, saved as a download of a real one lies there."""
    folder = tmp_path_factory.mktemp("ast")
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=FRAMES,
        num_labels=7,
    )
    model = ASTForAudioClassification(config)
    torch.nn.init.normal_(model.classifier.dense.weight, std=1.0)  # else all posteriors are nearly flat
    model.save_pretrained(folder)
    ASTFeatureExtractor(max_length=FRAMES).save_pretrained(folder)
    return folder


def direct(folder, wave):
    """Softmax of one window, by transformers alone."""
    model, extractor = (
        ASTForAudioClassification.from_pretrained(folder).eval(),
        ASTFeatureExtractor.from_pretrained(folder),
    )
    with torch.no_grad():
        return model(**extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")).logits.softmax(-1)[0]


def test_equals_transformers_on_one_window(folder, speech, noisy_speech):
    classifier = ASTClassifier(folder, 16000)
    one, other = speech[:, :16000], noisy_speech[:, :16000]
    p, q = direct(folder, one[0]), direct(folder, other[0])
    torch.testing.assert_close(classifier(one.double()), p, atol=1e-6, rtol=0)
    kld = KLD(classifier)
    kld.update(other[None], one[None])
    assert kld.compute().item() == pytest.approx(entropy(p.double().numpy(), q.double().numpy()), rel=1e-3)
    assert kld.compute() > 0


def test_a_long_clip_is_the_mean_over_windows_that_cover_it(folder, speech):
    window = 127 * 160 + 400
    samples = speech.shape[-1]
    assert window < samples < 2 * window
    expected = (direct(folder, speech[0, :window]) + direct(folder, speech[0, samples - window :])) / 2
    torch.testing.assert_close(ASTClassifier(folder, 16000)(speech.double()), expected, atol=1e-6, rtol=0)


def test_channels_are_judged_one_by_one_at_the_networks_rate(folder, speech):
    stereo = torch.stack([speech[0], speech[0].flip(0)])[:, :24000].double()
    mono = torch.from_numpy(resample(stereo, 24000, 16000).copy()).float()
    expected = (direct(folder, mono[0]) + direct(folder, mono[1])) / 2
    torch.testing.assert_close(ASTClassifier(folder, 24000)(stereo), expected, atol=1e-5, rtol=0)


def test_takes_its_shortest_clip(folder):
    classifier = ASTClassifier(folder, 44100)
    assert classifier.min_samples == 4410
    assert classifier(torch.randn(1, 4410, dtype=torch.float64)).sum().item() == pytest.approx(1, abs=1e-5)


def test_settings_name_the_weights(folder):
    protocol = KLD(ASTClassifier(folder, 24000)).protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert protocol["metric"] == "kld_ast"
    settings = protocol["settings"]
    assert (settings["sample_rate"], settings["model_rate"], settings["num_classes"]) == (24000, 16000, 7)
    assert settings["window_seconds"] == (127 * 160 + 400) / 16000
    assert settings["weights"] == folder.name
    assert "softmax" in settings["posterior"]


def test_refuses_a_rate_that_is_none(folder):
    with pytest.raises(ValueError, match=r"sample_rate must be positive \(Hz\), got -1"):
        ASTClassifier(folder, -1)
