"""Probe and fine-tuning: they learn, they choose on validation, and the test items are read once."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqkit.data import write_audio
from vqkit.pretraining import FineTuning, finetune, list_labelled, probe
from vqkit.pretraining.finetune import Classifier
from vqkit.pretraining.head import HeadSettings, cosine_rate, train_head
from vqkit.pretraining.linear_probe import pooled_features, read_items
from vqkit.pretraining.results import measure, scores_of

QUIET = pytest.mark.filterwarnings("ignore:.*there is no (test|valid) split")


def test_metrics_worked_out_by_hand():
    scores = torch.tensor([[3.0, 1, 0], [2, 3, 1], [1, 2, 3], [3, 2, 0]])
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])
    # class 0: ranks 3, 3, 2, 1 → both relevant first: 1. Class 1: 3 (relevant), 2 (relevant), 2, 1 → 1 or 5/6 by the tie
    found = measure(scores, targets)
    assert found["accuracy"] == 0.75
    assert 0.9 < found["mAP"] <= 1
    precise = measure(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), torch.tensor([[1.0, 0], [0, 1], [1, 0]]))
    # class 0: hits at ranks 1 and 3: (1 + 2/3) / 2; class 1: a hit at rank 2: 1/2
    assert precise["mAP"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    wide = torch.eye(8)
    assert measure(wide.roll(1, 1) + 0.5 * wide, wide)["top-5"] == 1
    assert "accuracy" not in measure(wide, torch.ones(8, 8))
    assert list(measure(wide, wide, precision=False)) == ["accuracy", "top-5"]


def test_intervals_have_the_width_of_the_binomial():
    torch.manual_seed(0)
    targets = torch.eye(2)[torch.randint(2, (200,))]
    right = torch.rand(200, 1) < 0.8
    score = scores_of(torch.where(right, targets, 1 - targets), targets)["accuracy"]
    width = 1.96 * (score.value * (1 - score.value) / 200) ** 0.5
    assert score.low == pytest.approx(score.value - width, abs=0.015)
    assert score.high == pytest.approx(score.value + width, abs=0.015)


@pytest.mark.parametrize(("items", "low"), [(2, 0.3424), (11, 0.7412)])
def test_a_few_items_that_are_all_right_or_wrong_leave_an_interval(items, low):
    """Wilson's: for n of n right from n / (n + z²)."""
    targets = torch.eye(2)[torch.arange(items) % 2]
    right, wrong = scores_of(targets, targets), scores_of(1 - targets, targets)
    for score in (right["accuracy"], right["mAP"]):
        assert (score.value, score.high) == (1, 1)
        assert score.low == pytest.approx(low, abs=1e-4)
    assert (wrong["accuracy"].value, wrong["accuracy"].low) == (0, 0)
    assert wrong["accuracy"].high == pytest.approx(1 - low, abs=1e-4)


def test_the_epoch_is_chosen_on_validation_and_not_on_test():
    torch.manual_seed(0)
    features, targets = torch.randn(60, 5), torch.eye(3)[torch.randint(3, (60,))]
    splits = list(range(30)), list(range(30, 45)), list(range(45, 60))
    how = HeadSettings(epochs=20)
    choice = train_head(features, targets, splits, "audio", how, "accuracy")
    other = targets.clone()
    other[45:] = targets[45:].roll(1, 1)  # other test labels change nothing
    again = train_head(features, other, splits, "audio", how, "accuracy")
    assert again.epoch == choice.epoch
    assert torch.equal(again.scores, choice.scores)
    turned = targets.clone()
    turned[30:45] = targets[30:45].roll(1, 1)
    assert train_head(features, turned, splits, "audio", how, "accuracy").valid != choice.valid


def test_the_rate_rises_and_falls():
    assert [round(cosine_rate(done), 2) for done in (0, 0.05, 0.1, 0.55, 1)] == [0, 0.5, 1, 0.5, 0]
    assert cosine_rate(1, floor=0.1) == pytest.approx(0.1)


@QUIET
def test_probe_learns_easy_classes(sounds, bridle):
    model = bridle()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = probe(model.train(), list_labelled(sounds, "audio"))
    assert model.training
    assert result.scores["accuracy"].value == 1.0
    assert result.items == {"train": 15, "valid": 3, "test": 6}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    folded = probe(model, list_labelled(sounds, "audio", folds=4))
    assert folded.folds == 4
    assert folded.items == {"train": 12, "valid": 6, "test": 6}
    assert json.loads(folded.to_json())["scores"]["accuracy"]["value"] == folded.scores["accuracy"].value


def test_features_do_not_depend_on_the_batch(bridle):
    model = bridle()
    signals = [torch.randn(1, 800 + 900 * index) / 10 for index in range(5)]
    together = pooled_features(model, signals)
    for signal, row in zip(signals, together, strict=True):
        torch.testing.assert_close(row, model.pooled(signal[None])[0], atol=1e-4, rtol=0)


def test_what_cannot_be_used_is_named_in_one_warning(sounds, bridle, tmp_path):
    for kind in ("hum", "beep"):
        (tmp_path / kind).mkdir()
        for index in range(4):
            (tmp_path / kind / f"{index}.wav").write_bytes((sounds / kind / f"{index}.wav").read_bytes())
    write_audio(tmp_path / "hum" / "short.wav", torch.randn(1, 300) / 10, 8000)
    write_audio(tmp_path / "hum" / "silent.wav", torch.zeros(1, 8000), 8000)
    with pytest.warns(UserWarning, match="there is no"):
        data = list_labelled(tmp_path, "audio")
    with pytest.warns(UserWarning, match="cannot be used") as caught:
        places, signals, skipped = read_items(bridle(), data)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "2 of 10 items cannot be used" in text
    assert "0.037 s is shorter than a patch, 0.095 s" in text
    assert "it is silent" in text
    assert len(places) == len(signals) == 8
    assert sorted(path.rpartition("/")[2] for path in skipped) == ["short.wav", "silent.wav"]


@QUIET
@pytest.mark.filterwarnings("ignore:.*(far outside ±1|cannot be used)")
def test_sound_far_outside_full_scale_is_named(bridle, tmp_path):
    for name, size in (("hum/a", 0.1), ("hum/far", 1e19), ("hiss/a", 0.2), ("hiss/b", 0.3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", np.full(8000, size, np.float32), 8000, "FLOAT")
    _, signals, skipped = read_items(bridle(), list_labelled(tmp_path, "audio"))
    assert len(signals) == 3
    assert [(Path(path).name, reason[:14]) for path, reason in skipped.items()] == [("far.wav", "reaches 1e+19,")]


@QUIET
def test_finetuning_learns_and_leaves_the_model_alone(sounds, bridle):
    model = bridle()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    how = FineTuning(epochs=12, learning_rate=1e-2, mask_frames=8, mask_bands=4)
    result = finetune(model, list_labelled(sounds, "audio"), how)
    assert result.scores["accuracy"].value > 0.8
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_layer_decay_and_weight_decay(bridle):
    classifier = Classifier(bridle(), 3)
    groups = classifier.groups(FineTuning(layer_decay=0.5))
    scales = {name: group["scale"] for (name, _), group in zip(classifier.named_parameters(), groups, strict=True)}
    assert scales["head.weight"] == scales["encoder.norm.weight"] == 1
    assert scales["encoder.blocks.layers.0.mlp.fc1.weight"] == 0.5
    assert scales["encoder.embedding.weight"] == scales["encoder.cls_token"] == 0.25
    decays = {
        name: group["weight_decay"] for (name, _), group in zip(classifier.named_parameters(), groups, strict=True)
    }
    assert decays["head.weight"] == 5e-4
    assert decays["head.bias"] == decays["encoder.cls_token"] == decays["norm.weight"] == 0


def test_arguments_are_checked(sounds, bridle):
    with pytest.raises(ValueError, match="the model is one of image, the items are audio"):
        probe(bridle("image"), list_labelled(sounds, "audio", folds=2))
    with pytest.raises(ValueError, match="epochs must be positive, got 0"):
        HeadSettings(epochs=0)
    with pytest.raises(ValueError, match="layer_decay must be in 0 … 1, got 2"):
        FineTuning(layer_decay=2)
