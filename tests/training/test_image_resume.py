"""A tokenizer's run killed between two checkpoints and continued equals one that was never interrupted, bit for bit."""

import pytest
import torch

from vqkit import RVQ
from vqkit.models import ConvBackbone, ImageTokenizer
from vqkit.nn import PatchDiscriminator
from vqkit.training import Adversary, ImageDataModule, ImageModule, train


class Killed(Exception):
    pass


def module(kill_at=None, **options):
    torch.manual_seed(0)
    quantizer = RVQ(12, 8, 2, update="ema", init="kmeans", revive="restart", stage_dropout=0.5)
    backbone = ConvBackbone(12, width=8, residual_width=4, residual_blocks=1)
    discriminator = PatchDiscriminator(width=4, num_layers=1, norm_groups=2)

    class Module(ImageModule):
        def training_step(self, images, batch_idx):
            if batch_idx == kill_at:
                raise Killed
            self.seen.append(images.clone())
            super().training_step(images, batch_idx)

    adversary = Adversary(discriminator, feature_weight=0.0, start_step=1)
    model = Module(ImageTokenizer(backbone, quantizer), adversary=adversary, adaptive=True, warmup_steps=2, **options)
    model.seen = []
    return model


def run(model, images, folder):
    data = ImageDataModule(str(images), size=16, batch_size=4, crop="random", crop_share=(0.8, 1.0), flip=True)
    settings = {"steps": 6, "save_every": 3, "validate_every": 3, "log_every": 1, "average_decay": 0.9}
    return train(model, data, folder=str(folder), accelerator="cpu", progress=False, **settings)


@pytest.mark.parametrize("options", [{}, {"quantize_after": 4}])
def test_killed_and_resumed_run_is_bit_equal(blob_images, tmp_path, options):
    whole = module(**options)
    run(whole, blob_images, tmp_path / "whole")
    with pytest.raises(Killed):
        run(module(kill_at=5, **options), blob_images, tmp_path / "cut")
    resumed = module(**options)
    run(resumed, blob_images, tmp_path / "cut")
    assert len(whole.seen) == 6
    assert len(resumed.seen) == 3
    assert all(torch.equal(one, other) for one, other in zip(whole.seen[3:], resumed.seen, strict=True))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for file in ("last.safetensors", "tokenizer/model.safetensors"):  # weights, averages, optimizers' states, progress
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
