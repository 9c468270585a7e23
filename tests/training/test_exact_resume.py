"""A run killed between two checkpoints and continued equals one that was never interrupted, bit for bit."""

import os
import signal
import sys

import pytest
import torch
from lightning.pytorch import Callback

from vqkit import RVQ
from vqkit.models import AudioCodec
from vqkit.nn import STFTDiscriminator
from vqkit.training import Adversary, AudioDataModule, CodecModule, train
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO
from vqkit.training.runs.files import RunFiles


class Killed(Exception):
    pass


def module(kill_at=None, adversarial=True, terminate_at=None, terminate_in_validation=None, **options):
    torch.manual_seed(0)
    quantizer = RVQ(12, 8, 2, update="ema", init="kmeans", revive="restart", stage_dropout=0.5)
    codec = AudioCodec(quantizer, sample_rate=8000, num_filters=4, strides=(2, 2))
    discriminator = STFTDiscriminator(num_filters=2, window_samples=(128, 64))
    adversary = Adversary(discriminator, start_step=1) if adversarial else None

    class Module(CodecModule):
        def training_step(self, wav, batch_idx):
            if batch_idx == kill_at:
                raise Killed
            self.seen.append(wav.clone())
            super().training_step(wav, batch_idx)
            if batch_idx + 1 == terminate_at:
                os.kill(os.getpid(), signal.SIGTERM)

        def validation_step(self, batch, batch_idx):
            super().validation_step(batch, batch_idx)
            if (len(self.seen), batch_idx) == terminate_in_validation:
                os.kill(os.getpid(), signal.SIGTERM)

    settings = {"warmup_steps": 2, "learning_rate": 1e-2, **options}
    result = Module(codec, adversary=adversary, balance=adversarial, **settings)
    result.seen = []
    return result


def run(model, clips, folder, valid_split="valid", **options):
    data = AudioDataModule(str(clips), crop_seconds=0.2, batch_size=4, valid_seconds=0.25, valid_split=valid_split)
    settings = {"steps": 6, "save_every": 3, "validate_every": 3, "log_every": 1, "average_decay": 0.9} | options
    return train(model, data, folder=str(folder), accelerator="cpu", progress=False, **settings)


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({"adversarial": False}, "32-true"),
        ({"adversarial": True}, "32-true"),
        # a validation must not leave the losses in evaluation mode, where they draw no windows
        ({"adversarial": False, "windows_per_step": 1, "spectrum_weight": 1.0}, "bf16-mixed"),
    ],
)
def test_killed_and_resumed_run_is_bit_equal(noise_clips, tmp_path, options, precision):
    whole = module(**options)
    run(whole, noise_clips, tmp_path / "whole", precision=precision)
    with pytest.raises(Killed):
        run(module(kill_at=5, **options), noise_clips, tmp_path / "cut", precision=precision)
    resumed = module(**options)
    run(resumed, noise_clips, tmp_path / "cut", precision=precision)
    assert len(whole.seen) == 6
    assert len(resumed.seen) == 3
    for one, other in zip(whole.seen[3:], resumed.seen, strict=True):
        assert torch.equal(one, other)
    states = whole.state_dict(), resumed.state_dict()
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name
    files = [SafeCheckpointIO().load_checkpoint(tmp_path / part / "last.safetensors") for part in ("whole", "cut")]
    assert_equal(*files, "checkpoint")
    codecs = [AudioCodec.from_pretrained(tmp_path / part / "codec").state_dict() for part in ("whole", "cut")]
    assert all(torch.equal(codecs[0][name], codecs[1][name]) for name in codecs[0])


@pytest.mark.parametrize("last_step", [1, 3, 4])
def test_run_asked_to_end_saves_first(noise_clips, tmp_path, last_step):
    whole = module(adversarial=False)
    run(whole, noise_clips, tmp_path / "whole")
    asked = module(adversarial=False, terminate_at=last_step)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {last_step} of 6; the same command goes on"):
        run(asked, noise_clips, tmp_path / "cut", save_every=100)
    resumed = module(adversarial=False)
    run(resumed, noise_clips, tmp_path / "cut", save_every=100)
    assert len(resumed.seen) == 6 - last_step
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_handler_that_ends_the_process_waits_until_the_run_is_saved(noise_clips, tmp_path):
    """Ray's clusters, for one, leave a handler that exits at once."""
    saved = []

    def ends_the_process(number, frame):
        saved.append((tmp_path / "cut" / "last.safetensors").is_file())
        sys.exit(1)

    before = signal.signal(signal.SIGTERM, ends_the_process)
    try:
        with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of 6; the same command goes on"):
            run(module(adversarial=False, terminate_at=3), noise_clips, tmp_path / "cut", save_every=100)
        assert signal.getsignal(signal.SIGTERM) is ends_the_process
    finally:
        signal.signal(signal.SIGTERM, before)
    assert saved == [True]


class Validations(Callback):
    """Keeps what each validation found."""

    def __init__(self):
        self.found = []

    def on_validation_end(self, trainer, pl_module):
        self.found.append({name: float(value) for name, value in trainer.callback_metrics.items() if "valid/" in name})


@pytest.mark.parametrize(("steps_before", "clip"), [(2, 0), (2, 2), (6, 1)])
def test_run_asked_to_end_while_it_validates_the_average_saves_what_was_trained(
    noise_clips, tmp_path, steps_before, clip
):
    options = {"valid_split": "train", "validate_every": 2, "save_every": 100, "average_decay": 0.5}
    whole, seen = module(adversarial=False), Validations()
    run(whole, noise_clips, tmp_path / "whole", callbacks=[seen], **options)
    asked = module(adversarial=False, terminate_in_validation=(steps_before, clip))
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {steps_before} of 6"):
        run(asked, noise_clips, tmp_path / "cut", callbacks=[Validations()], **options)
    saved = SafeCheckpointIO().load_checkpoint(tmp_path / "cut" / "last.safetensors")["state_dict"]
    assert_equal(dict(asked.state_dict()), saved, "module after the exception")
    resumed, again = module(adversarial=False), Validations()
    run(resumed, noise_clips, tmp_path / "cut", callbacks=[again], **options)
    assert len(resumed.seen) == 6 - steps_before
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    names = ("codec/model.safetensors", "codec/config.json")
    assert all((tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes() for name in names)
    # the interrupted validation is made again, of all clips; one that had seen them all is not
    assert len(seen.found) == 3
    assert seen.found[-len(again.found) :] == again.found or not again.found
    assert len(again.found) == (6 - steps_before) // 2 + (clip < 2)


def test_checkpoint_that_another_callback_saves_within_a_validation_holds_the_trained_weights(noise_clips, tmp_path):
    class Saves(Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "within.safetensors")

    trained = module(adversarial=False)
    run(trained, noise_clips, tmp_path / "run", callbacks=[Saves()], validate_every=6)
    within, last = (
        SafeCheckpointIO().load_checkpoint(path)
        for path in (tmp_path / "within.safetensors", tmp_path / "run" / "last.safetensors")
    )
    assert_equal(within["state_dict"], last["state_dict"], "weights")
    assert_equal(within["callbacks"], last["callbacks"], "average")
    assert any(
        not torch.equal(value, last["callbacks"]["WeightAverage"]["average"][name.removeprefix("codec.")])
        for name, value in last["state_dict"].items()
    )


@pytest.mark.parametrize("average_decay", [None, 0.9])
def test_run_killed_between_its_last_checkpoint_and_its_model_writes_the_model(
    noise_clips, tmp_path, monkeypatch, average_decay
):
    options = {"save_every": 3, "validate_every": 3, "average_decay": average_decay}
    run(module(adversarial=False), noise_clips, tmp_path / "whole", **options)
    save = RunFiles._save_models

    def killed_at_the_end(self, pl_module):
        if len(pl_module.seen) == 6:
            raise Killed
        save(self, pl_module)

    with monkeypatch.context() as patch:
        patch.setattr(RunFiles, "_save_models", killed_at_the_end)
        with pytest.raises(Killed):
            run(module(adversarial=False), noise_clips, tmp_path / "cut", **options)
    paths = [tmp_path / part / "codec" / "model.safetensors" for part in ("whole", "cut")]
    assert paths[0].read_bytes() != paths[1].read_bytes()  # the model of step 3
    again = module(adversarial=False)
    run(again, noise_clips, tmp_path / "cut", **options)
    assert not again.seen
    assert paths[0].read_bytes() == paths[1].read_bytes()


def assert_equal(one, other, where):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            assert_equal(first, second, f"{where}/{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where
