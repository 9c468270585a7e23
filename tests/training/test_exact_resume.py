"""A run killed between two checkpoints and continued equals one that was never interrupted, bit for bit."""

import os
import signal

import pytest
import torch

from vqkit import RVQ
from vqkit.models import AudioCodec
from vqkit.nn import STFTDiscriminator
from vqkit.training import Adversary, AudioDataModule, CodecModule, train
from vqkit.training.checkpoint_io import SafeCheckpointIO


class Killed(Exception):
    pass


def module(kill_at=None, adversarial=True, terminate_at=None):
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

    result = Module(codec, adversary=adversary, balance=adversarial, warmup_steps=2, learning_rate=1e-2)
    result.seen = []
    return result


def run(model, clips, folder, **options):
    data = AudioDataModule(str(clips), crop_seconds=0.2, batch_size=4, valid_seconds=0.25)
    settings = {"steps": 6, "save_every": 3, "validate_every": 3, "log_every": 1, "average_decay": 0.9} | options
    return train(model, data, folder=str(folder), accelerator="cpu", progress=False, **settings)


@pytest.mark.parametrize("adversarial", [False, True])
def test_killed_and_resumed_run_is_bit_equal(noise_clips, tmp_path, adversarial):
    whole = module(adversarial=adversarial)
    run(whole, noise_clips, tmp_path / "whole")
    with pytest.raises(Killed):
        run(module(kill_at=5, adversarial=adversarial), noise_clips, tmp_path / "cut")
    resumed = module(adversarial=adversarial)
    run(resumed, noise_clips, tmp_path / "cut")
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
