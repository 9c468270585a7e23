import math

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from vqkit import FSQ, RVQ
from vqkit.data import AudioCrops
from vqkit.losses import MultiScaleMel, WeightedLoss, waveform_l1
from vqkit.models import AudioCodec
from vqkit.models.audio.frames import FrameCodec
from vqkit.nn import STFTDiscriminator, balanced_rotation
from vqkit.training import Adversary, AudioDataModule, CodecModule, ReconstructionModule, train
from vqkit.training.reconstruction.quantizer_start import fit_quantizer
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO

PLAIN = {"update": "gradient", "init": "uniform", "revive": "none"}  # a forward in training then changes nothing


def codec(quantizer=None):
    torch.manual_seed(0)
    return AudioCodec(quantizer or RVQ(12, 8, 2, **PLAIN), sample_rate=8000, num_filters=4, strides=(2, 2))


def run(module, clips, folder, **options):
    data = AudioDataModule(str(clips), crop_seconds=0.2, batch_size=4, valid_seconds=0.25)
    settings = {"steps": 2, "log_every": 1, "accelerator": "cpu", "progress": False} | options
    return train(module, data, folder=str(folder), **settings)


def test_frames_without_networks_learn_by_moving_averages(noise_clips, tmp_path):
    codec = FrameCodec(RVQ(8, 8, 2), sample_rate=8000)
    run(ReconstructionModule(codec, [WeightedLoss("l1", nn.L1Loss())]), noise_clips, tmp_path)
    assert all(float(codebook.abs().max()) > 1 / 8 for codebook in codec.quantizer.codebooks)  # where they start
    fixed = FrameCodec(FSQ(8, [5] * 8), sample_rate=8000)
    with pytest.raises(ValueError, match="nothing learns in phase 'all'"):
        run(ReconstructionModule(fixed, [WeightedLoss("l1", nn.L1Loss())]), noise_clips, tmp_path / "fixed")


def test_learning_rate_rises_and_falls():
    module = CodecModule(codec(), warmup_steps=4)
    shares = [module.optimisation.share(step, 14) for step in range(14)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[9] == pytest.approx(0.5)
    assert shares[13] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 0.9))
    constant = CodecModule(codec(), warmup_steps=0, schedule="constant")
    assert constant.optimisation.share(0, 14) == constant.optimisation.share(13, 14) == 1.0
    trapezoid = CodecModule(codec(), warmup_steps=2, schedule="trapezoid")
    shares = [trapezoid.optimisation.share(step, 100) for step in (0, 1, 70, 85, 99)]
    assert shares == pytest.approx([0.5, 1.0, 1.0, 0.5, 1 / 30])


def test_quantizer_has_its_own_rate_and_no_decay(noise_clips, tmp_path):
    module = CodecModule(codec(), learning_rate=1e-3, quantizer_learning_rate=1e-2, warmup_steps=0, schedule="constant")
    run(module, noise_clips, tmp_path)
    saved = SafeCheckpointIO().load_checkpoint(tmp_path / "last.safetensors")
    groups = saved["optimizer_states"][0]["param_groups"]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.01), (1e-2, 0.0)]


def test_step_without_adversary_is_the_gradient_of_the_weighted_sum(noise_clips, tmp_path):
    class Sum(CodecModule):
        def descend(self, loss, parameters, step, optimizer=0):
            self.found = loss.detach()
            return super().descend(loss, parameters, step, optimizer)

        def training_step(self, wav, batch_idx):
            self.before, self.wav = self.codec.state_dict(), wav
            self.before = {name: value.clone() for name, value in self.before.items()}
            super().training_step(wav, batch_idx)

    module = Sum(codec(), waveform_weight=0.5, mel_weight=2.0, quantizer_weight=3.0)
    run(module, noise_clips, tmp_path, steps=1)
    twin = codec().train()
    twin.load_state_dict(module.before)
    twin.initialize(module.wav)
    output = twin(module.wav)
    mel = MultiScaleMel(8000)(output.wav, module.wav)
    expected = 0.5 * waveform_l1(output.wav, module.wav) + 2.0 * mel + 3.0 * output.quantized.loss
    torch.testing.assert_close(module.found, expected.detach())


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-mixed"}, {"average_decay": 0.5}])
@pytest.mark.parametrize("adversarial", [False, True])
def test_every_option_trains(noise_clips, tmp_path, options, adversarial):
    discriminator = STFTDiscriminator(num_filters=2, window_samples=(128, 64))
    adversary = Adversary(discriminator, update_share=1) if adversarial else None
    module = CodecModule(codec(FSQ(12, [5, 5])), adversary=adversary, balance=adversarial)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    folder = run(module, noise_clips, tmp_path, **options)
    changed = {
        name.partition(".")[0] for name, value in module.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"codec"} | ({"adversary", "balancer"} if adversarial else set())
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert torch.isfinite(AudioCodec.from_pretrained(folder)(torch.randn(1, 1, 800)).wav).all()


def test_discriminator_learns_at_its_share_of_the_steps():
    adversary = Adversary(STFTDiscriminator(num_filters=2, window_samples=(64,)), update_share=2 / 3)
    assert sum(adversary.learns(step) for step in range(300)) == 200
    assert [adversary.learns(step) for step in range(6)] == [False, True, True] * 2


def test_model_losses_leave_the_discriminator_alone_and_its_own_the_codec():
    adversary = Adversary(STFTDiscriminator(num_filters=2, window_samples=(64,)))
    wav, estimate = torch.randn(2, 1, 400), torch.randn(2, 1, 400, requires_grad=True)
    sum(adversary.model_losses(estimate, wav).values()).backward()
    assert estimate.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in adversary.parameters())
    estimate.grad = None
    adversary.own_loss(estimate, wav).backward()
    assert estimate.grad is None
    assert all(parameter.grad is not None for parameter in adversary.parameters())


def test_exploding_gradient_is_named(noise_clips, tmp_path):
    class Broken(nn.Module):
        def forward(self, estimate, reference):
            return estimate.sum() * float("inf")

    module = ReconstructionModule(codec(), [WeightedLoss("broken", Broken())])
    with pytest.raises(RuntimeError, match="the gradient of step 0 is not finite: lower learning_rate"):
        run(module, noise_clips, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"waveform_weight": -1}, "waveform_weight must be at least 0, got -1"),
        ({"schedule": "step"}, "schedule must be 'cosine', 'constant' or 'trapezoid', got 'step'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CodecModule(codec(), **options)


def test_bad_adversaries_are_named():
    discriminator = STFTDiscriminator(num_filters=2, window_samples=(64,))
    with pytest.raises(ValueError, match="must be positive and feature_weight at least 0, got 0, 0.0003 and 3.0"):
        Adversary(discriminator, adversarial_weight=0)
    with pytest.raises(ValueError, match="start_step must be at least 0 and update_share in \\(0, 1\\], got 0 and 2"):
        Adversary(discriminator, update_share=2)


def test_callbacks_keep_their_state_and_first_step_scales_the_codec(noise_clips, tmp_path):
    class Count(Callback):
        steps = 0

        def on_train_batch_end(self, *args):
            self.steps += 1

        def state_dict(self):
            return {"steps": self.steps}

        def load_state_dict(self, state_dict):
            self.steps = state_dict["steps"]

    module = CodecModule(codec())
    run(module, noise_clips, tmp_path, callbacks=[Count()])
    assert module.codec.initialized
    count = Count()
    run(CodecModule(codec()), noise_clips, tmp_path, steps=5, callbacks=[count])
    assert count.steps == 5


def test_loaded_codec_keeps_its_scale(noise_clips, tmp_path):
    start = codec()
    start.initialized.fill_(True)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    run(CodecModule(start, learning_rate=1e-9), noise_clips, tmp_path, steps=1)
    assert all(torch.allclose(before[name], value, atol=1e-6) for name, value in start.state_dict().items())


def _flat(quantizer):
    return torch.cat([value.detach().float().flatten() for value in quantizer.state_dict().values()])


def test_quantizer_joins_after_the_steps_without_it(noise_clips, tmp_path):
    class Look(Callback):
        def __init__(self):
            self.books, self.quantized = [], []

        def on_train_batch_end(self, trainer, module, *_):
            self.books.append(_flat(module.codec.quantizer))
            self.quantized.append("train/quantization_nmse" in trainer.callback_metrics)

    look, start = Look(), codec()
    untrained = _flat(start.quantizer)
    module = CodecModule(start, quantize_after=2)
    run(module, noise_clips, tmp_path, steps=3, callbacks=[look])
    assert look.quantized == [False, False, True]
    assert torch.equal(look.books[1], untrained)
    assert not torch.equal(look.books[2], untrained)


def test_unquantized_step_is_the_gradient_of_the_autoencoder(noise_clips, tmp_path):
    alone, joined = (CodecModule(codec(quantizer), quantize_after=9) for quantizer in (RVQ(12, 4, 1), RVQ(12, 8, 2)))
    for name, module in (("alone", alone), ("joined", joined)):
        run(module, noise_clips, tmp_path / name, steps=2)
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(alone.codec, part).parameters(), getattr(joined.codec, part).parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_fitted_quantizer_is_that_of_the_balanced_latents_of_the_first_crops(noise_clips):
    crops = AudioDataModule(str(noise_clips), crop_seconds=0.2, batch_size=4)
    dataset = AudioCrops(crops.clips(None), 8000, 1, 0.2, crops_per_epoch=20, seed=0)
    start, twin = codec().eval(), codec().eval()
    fit_quantizer(start, dataset, vectors=1200)
    wav = torch.stack([dataset[index] for index in range(16)])  # 400 frames each, and 16 are encoded at once
    latents = twin.analyze(wav).flatten(end_dim=1)
    turned = start.analyze(wav).flatten(end_dim=1)
    assert torch.allclose(turned, latents @ balanced_rotation(latents), atol=1e-5)
    assert torch.allclose(start.autoencode(wav).signal, twin.autoencode(wav).signal, atol=1e-5)
    twin.quantizer.fit(turned)
    fitted, expected = start.quantizer.state_dict(), twin.quantizer.state_dict()
    assert all(torch.allclose(fitted[name].float(), expected[name].float(), atol=1e-4) for name in expected)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("quantize_after", [None, 2])
def test_run_ends_with_a_line_on_codes_that_the_validation_did_not_use(
    noise_clips, tmp_path, validated, quantize_after
):
    dead = RVQ(12, 64, 2, **PLAIN)
    with torch.no_grad():
        for stage in dead.quantizer.stages:
            stage.codebook.weight[3:] = 1e3  # three codes are near, the others out of reach
    module = CodecModule(codec(dead), quantize_after=quantize_after)
    options = {"valid_split": "valid" if validated else None, "valid_seconds": 0.25}
    data = AudioDataModule(str(noise_clips), crop_seconds=0.2, batch_size=4, **options)
    train(module, data, folder=str(tmp_path), steps=2, accelerator="cpu", progress=False, validate_every=1)
    if validated and quantize_after is None:  # else nothing was counted, or the quantizer never took part
        assert module.usage_advice.startswith("RVQ uses ")
        assert module.usage_advice.endswith("revive='split', which moves unused codes next to those in use")
        assert int(module.usage_advice.split()[2]) <= 3
    else:
        assert module.usage_advice is None
