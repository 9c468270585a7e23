"""What the published code does otherwise in evaluation, as options: the epoch chosen on the test items, drop path of a frozen encoder."""

import warnings

import pytest
import torch

from vqkit.models.bridle.stack import Blocks
from vqkit.pretraining import FineTuning, finetune, list_labelled
from vqkit.pretraining.head import HeadSettings, train_head
from vqkit.pretraining.results import measure


def test_the_epoch_may_be_chosen_on_the_test_items():
    torch.manual_seed(0)
    features, targets = torch.randn(90, 8), torch.eye(3)[torch.randint(3, (90,))]  # nothing to learn but noise
    splits = (range(30), range(30, 60), range(60, 90))
    ours, theirs = (
        train_head(features, targets, splits, "image", HeadSettings(epochs=30, chosen_on=on), "accuracy")
        for on in ("valid", "test")
    )
    assert theirs.valid == pytest.approx(measure(theirs.scores, targets[60:])["accuracy"])
    honest = measure(ours.scores, targets[60:])["accuracy"]
    assert theirs.valid >= honest  # the best of all epochs
    assert ours.valid != honest  # it is that of other items
    with pytest.raises(ValueError, match="chosen_on must be 'valid' or 'test', got 'train'"):
        HeadSettings(chosen_on="train")


def test_a_result_says_so(sounds, bridle):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = list_labelled(sounds, "audio")
    found = finetune(bridle(), data, FineTuning(epochs=1, chosen_on="test"))
    assert "chosen on the test items, as in the published code: too high scores" in found.lines()[0]
    assert "chosen on validation" in finetune(bridle(), data, FineTuning(epochs=1)).lines()[0]
    assert found.valid == pytest.approx(found.scores["accuracy"].value)


@pytest.mark.parametrize("dropped", [False, True])
def test_a_frozen_encoder_may_drop_paths(sounds, bridle, dropped, monkeypatch):
    seen = set()
    original = Blocks._skipped

    def watched(self, tokens, changed, index):
        seen.add((torch.is_grad_enabled(), self.training))
        return original(self, tokens, changed, index)

    monkeypatch.setattr(Blocks, "_skipped", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = list_labelled(sounds, "audio")
    finetune(bridle(), data, FineTuning(epochs=1, unfrozen=False, frozen_drop_path=dropped))
    assert (True, dropped) in seen  # while the classifier learns
    assert (True, not dropped) not in seen
    assert (False, False) in seen  # scores are computed without
