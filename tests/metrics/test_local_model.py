import hashlib
import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from vqkit.metrics.local_model import load_model, model_settings

NAMES = ("ASTForAudioClassification", "ASTFeatureExtractor")

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # of AST's extractor


@pytest.fixture
def folder(tmp_path):
    config = ASTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_length=32)
    ASTForAudioClassification(config).save_pretrained(tmp_path / "tiny")
    ASTFeatureExtractor(max_length=32).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_loads_for_evaluation(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, extractor = load_model(folder, *NAMES)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert extractor.max_length == 32


def test_settings_tell_weights_apart(folder):
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model_settings(folder) == {"weights": "tiny", "sha256": digest}


def test_refuses_folders_without_safetensors(folder, tmp_path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"tiny has no model\.safetensors; a local folder needs config\.json"):
        load_model(folder, *NAMES)
    with pytest.raises(FileNotFoundError, match=r"no config\.json, preprocessor_config\.json, model\.safetensors;"):
        load_model(tmp_path / "nowhere", *NAMES)


def test_refuses_weights_that_leave_a_part_at_random(folder):
    state = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in state.items() if not key.startswith("classifier.dense")}
    assert len(kept) == len(state) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="does not hold a complete AST.*no weights for classifier.dense.bias"):
        load_model(folder, *NAMES)
    assert torch.is_grad_enabled()


def test_refuses_a_config_that_asks_for_more_than_the_weights_hold(folder, bounded):
    config = json.loads((folder / "config.json").read_text())
    for changes, message in [
        ({"intermediate_size": 10**9}, r"tiny/config\.json: it needs more than the"),
        ({"num_hidden_layers": 10**6}, r"tiny/config\.json: it takes more than"),
        ({"hidden_size": 10**12}, r"tiny/config\.json: numbers must be finite and below"),
    ]:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with bounded(), pytest.raises(ValueError, match=message):
            load_model(folder, *NAMES)


def test_refuses_weights_that_are_no_numbers(folder):
    state = load_file(folder / "model.safetensors")
    state["classifier.dense.bias"][0] = torch.inf
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.safetensors: classifier\.dense\.bias holds NaN or Inf"):
        load_model(folder, *NAMES)
