import math
from copy import deepcopy

import pytest
import torch
from lightning.pytorch import Callback
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from vqkit import FSQ, RVQ, VQ, BlockTruncation
from vqkit.data import Images, list_images
from vqkit.losses import WeightedLoss
from vqkit.models import ConvBackbone, ImageTokenizer, PixelBackbone, ViTBackbone
from vqkit.nn import EfficientNetLite0, PatchDiscriminator, PerceptualDistance
from vqkit.training import Adversary, ImageDataModule, ImageModule, ReconstructionModule, ReconstructionPhase, train
from vqkit.training.command import build_parser, main


def tokenizer(quantizer=None, width=8):
    torch.manual_seed(0)
    return ImageTokenizer(
        ConvBackbone(12, width=width, residual_width=4, residual_blocks=1), quantizer or RVQ(12, 16, 2, init="kmeans")
    )


def adversary(**options):
    torch.manual_seed(1)
    return Adversary(
        PatchDiscriminator(width=4, num_layers=1, norm_groups=2),
        **{"feature_weight": 0.0, "update_share": 1.0} | options,
    )


class Edges(nn.Module):
    """Stands in for a perceptual distance."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.tensor([[-1.0, 1.0]]))

    def forward(self, estimate, reference):
        one, other = (
            image[..., :-1] * self.kernel[0, 0] + image[..., 1:] * self.kernel[0, 1] for image in (estimate, reference)
        )
        return (one - other).square().flatten(1).mean(dim=1)


class Look(Callback):
    """Notes what is logged at each step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, module, *_):
        self.steps.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def run(module, folder, images, **options):
    data_options = {key: options.pop(key) for key in ("valid_split", "valid_images") if key in options}
    data = ImageDataModule(str(images), size=16, batch_size=4, crop="random", crop_share=(0.8, 1.0), **data_options)
    settings = {"steps": 2, "log_every": 1, "accelerator": "cpu", "progress": False} | options
    return train(module, data, folder=str(folder), **settings)


def test_loss_falls_on_a_few_pictures(blob_images, tmp_path):
    look = Look()
    quantizer = RVQ(12, 16, 2, update="ema", init="kmeans", revive="restart")
    module = ImageModule(tokenizer(quantizer, width=16), learning_rate=1e-2, warmup_steps=5, quantize_after=15)
    run(module, tmp_path, blob_images, steps=60, callbacks=[look], valid_split=None)
    first, last = (sum(step["train/l1"] for step in look.steps[part]) / 5 for part in (slice(5), slice(-5, None)))
    assert last < 0.9 * first  # the first steps find the mean colour
    assert module.tokenizer.initialized
    assert look.steps[-1]["train/quantization_nmse"] < 1


@pytest.mark.parametrize("options", [{}, {"balance": True}, {"quantize_after": 0}], ids=str)
def test_what_learns_by_moving_averages_needs_no_gradient(blob_images, tmp_path, options):
    look = Look()
    module = ImageModule(ImageTokenizer(PixelBackbone(4), RVQ(48, 8, 2)), **options)
    run(module, tmp_path, blob_images, steps=20, callbacks=[look], valid_split=None)
    assert look.steps[-1]["train/gradient_norm"] == 0
    assert all(float(codebook.std()) > 0.01 for codebook in module.tokenizer.quantizer.codebooks)
    assert look.steps[-1]["train/quantization_nmse"] < 0.3
    logged = EventAccumulator(str(tmp_path)).Reload().Scalars("train/l1")
    assert [event.step for event in logged] == list(range(20))


def test_a_phase_may_teach_moving_averages_alone(blob_images, tmp_path):
    module = ReconstructionModule(
        tokenizer(),
        [WeightedLoss("l1", nn.L1Loss())],
        phases=[
            ReconstructionPhase(name="codes", trains=("tokenizer.quantizer",), steps=2),
            ReconstructionPhase(name="all"),
        ],
    )
    look = Look()
    run(module, tmp_path, blob_images, steps=4, callbacks=[look], valid_split=None)
    assert [step["train/gradient_norm"] > 0 for step in look.steps] == [False, False, True, True]


@pytest.mark.parametrize(
    ("quantizer", "quantize_after", "phase"),
    [
        (lambda: BlockTruncation(16), None, "with quantizer"),
        (lambda: RVQ(48, 8, 2).freeze(), None, "with quantizer"),
        (lambda: RVQ(48, 8, 2), 1, "without quantizer"),
    ],
)
def test_a_phase_in_which_nothing_can_learn_is_refused(blob_images, tmp_path, quantizer, quantize_after, phase):
    module = ImageModule(ImageTokenizer(PixelBackbone(4), quantizer()), quantize_after=quantize_after)
    with pytest.raises(ValueError, match=f"nothing learns in phase '{phase}': its loss reaches no parameter"):
        run(module, tmp_path, blob_images, valid_split=None)


def test_a_phase_may_teach_the_discriminator_alone(blob_images, tmp_path):
    module = ImageModule(ImageTokenizer(PixelBackbone(4), BlockTruncation(16)), adversary=adversary())
    before = deepcopy(module.adversary.discriminator.state_dict())
    run(module, tmp_path, blob_images, valid_split=None)
    after = module.adversary.discriminator.state_dict()
    assert any(not torch.equal(after[name].cpu(), value) for name, value in before.items())


def test_a_step_is_the_gradient_of_the_weighted_sum(blob_images, tmp_path):
    class Sum(ImageModule):
        def descend(self, loss, parameters, step, optimizer=0):
            self.found = loss.detach()
            return super().descend(loss, parameters, step, optimizer)

        def training_step(self, images, batch_idx):
            self.images = images
            super().training_step(images, batch_idx)

    def seeded():
        torch.manual_seed(2)
        return RVQ(
            12, 16, 2, update="gradient", init="uniform", revive="none"
        )  # k-means would draw its start in the step

    weights = {"l1_weight": 0.5, "l2_weight": 3.0, "perceptual_weight": 2.0, "quantizer_weight": 4.0}
    module = Sum(tokenizer(seeded()), perceptual=Edges(), **weights)
    run(module, tmp_path, blob_images, steps=1)
    twin = tokenizer(seeded()).train()
    twin.initialize(module.images)
    output, images = twin(module.images), module.images
    error = output.images - images
    expected = 0.5 * error.abs().mean() + 3 * error.square().mean() + 2 * Edges()(output.images, images).mean()
    torch.testing.assert_close(module.found, (expected + 4 * output.quantized.loss).detach())


def test_the_adaptive_weight_makes_gradients_at_the_last_layer_equal():
    """VQGAN's eq. 7: λ times the adversarial gradient is as long as that of the distances."""
    module = ImageModule(tokenizer(), l2_weight=1.0, adversary=adversary(adversarial_weight=0.8), adaptive=True)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    estimate = module.tokenizer.train()(images).images
    losses = module.losses(estimate, images)
    alone = module.joined(dict(losses), estimate)
    losses |= module.adversary.model_losses(estimate, images)

    def at_last_layer(loss):
        return torch.autograd.grad(loss, module.tokenizer.backbone.last_layer, retain_graph=True)[0]

    added = at_last_layer(module.joined(losses, estimate)) - at_last_layer(alone)
    plain = at_last_layer(losses["adversarial"])
    kept = float(plain.norm() / (plain.norm() + 1e-6))
    assert float(added.norm()) == pytest.approx(0.8 * float(at_last_layer(alone).norm()) * kept, rel=1e-4)
    assert float(nn.functional.cosine_similarity(added.flatten(), plain.flatten(), dim=0)) == pytest.approx(1, abs=1e-4)
    fixed = ImageModule(tokenizer(), l2_weight=1.0, adversary=adversary(adversarial_weight=0.8))
    expected = alone + 0.8 * losses["adversarial"]
    torch.testing.assert_close(fixed.joined(losses, estimate), expected)


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-mixed"}, {"average_decay": 0.5}])
def test_perceptual_and_adversary_train_together(blob_images, tmp_path, options):
    trunk = EfficientNetLite0(input_size=32, min_size=32)
    perceptual = PerceptualDistance(trunk)
    frozen = deepcopy(trunk.state_dict())
    look = Look()
    module = ImageModule(
        tokenizer(FSQ(12, [5, 5])),
        perceptual=perceptual,
        perceptual_weight=1.0,
        adversary=adversary(start_step=1),
        adaptive=True,
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    folder = run(module, tmp_path, blob_images, steps=3, callbacks=[look], **options)
    changed = {
        name.split(".")[0] for name, value in module.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"tokenizer", "adversary"}
    assert "train/adversarial" not in look.steps[0]
    assert {"train/adversarial", "train/discriminator", "train/perceptual"} <= set(look.steps[1])
    assert all(torch.equal(frozen[name], value) for name, value in trunk.state_dict().items())
    assert not any(module.training for module in trunk.modules())
    assert ImageTokenizer.from_pretrained(folder).encode(torch.rand(1, 3, 16, 16)).shape == (1, 1, 4, 4)


def test_the_trunk_is_not_in_checkpoints_and_goes_to_the_models_device(blob_images, tmp_path):
    edges = Edges()
    module = ImageModule(tokenizer(), perceptual=edges, perceptual_weight=1.0)
    assert not any("perceptual" in name for name in module.state_dict())
    run(module, tmp_path, blob_images, steps=1)
    assert not any("perceptual" in name for name in load_file(tmp_path / "last.safetensors"))
    module.to("meta")
    assert edges.kernel.device.type == "meta"
    assert not edges.kernel.requires_grad


def test_quantizer_joins_after_the_steps_without_it_fitted(blob_images, tmp_path):
    look, start = Look(), tokenizer(VQ(12, 16, update="gradient"))
    flat = torch.cat([p.detach().flatten().clone() for p in start.quantizer.parameters()])
    run(ImageModule(start, quantize_after=2), tmp_path, blob_images, steps=3, callbacks=[look])
    assert ["train/quantization_nmse" in step for step in look.steps] == [False, False, True]
    assert look.steps[2]["train/quantization_nmse"] < 0.8  # a codebook at random is about as far away as 0
    assert not torch.equal(flat, torch.cat([p.detach().flatten() for p in start.quantizer.parameters()]))


def test_validation_is_the_mean_over_images(blob_images, tmp_path):
    module = ImageModule(tokenizer())
    run(module, tmp_path, blob_images, steps=1)
    images = Images(list_images(blob_images, "valid"), 16)
    trained = module.tokenizer.eval()
    psnr, mae = [], []
    for index in range(3):
        image = images[index].image
        made = trained.decode(trained.encode(image[None]))[0]
        psnr.append(10 * math.log10(1 / float((made - image).square().mean())))
        mae.append(float((made - image).abs().mean()))
    assert float(module.trainer.callback_metrics["valid/psnr"]) == pytest.approx(sum(psnr) / 3, rel=1e-4)
    assert float(module.trainer.callback_metrics["valid/mae"]) == pytest.approx(sum(mae) / 3, rel=1e-4)


def test_a_transformer_trains_too(blob_images, tmp_path):
    torch.manual_seed(0)
    backbone = ViTBackbone(12, image_size=16, patch=4, tokens=6, width=16, depth=1, heads=2)
    look = Look()
    module = ImageModule(ImageTokenizer(backbone, VQ(12, 16)), learning_rate=3e-3, warmup_steps=1)
    run(module, tmp_path, blob_images, steps=20, callbacks=[look], valid_split=None)
    assert look.steps[-1]["train/l1"] < look.steps[0]["train/l1"]
    assert "valid/psnr" not in module.trainer.callback_metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"l2_weight": -1}, "l2_weight must be at least 0, got -1"),
        ({"l1_weight": 0}, "one of l1_weight, l2_weight, perceptual_weight must be positive"),
        ({"quantize_after": -1}, "quantize_after must be at least 0, got -1"),
        ({"schedule": "step"}, "schedule must be 'cosine', 'constant' or 'trapezoid', got 'step'"),
        ({"perceptual_weight": 1}, "perceptual and a positive perceptual_weight go together, got none and 1"),
        ({"perceptual": Edges()}, "go together, got Edges and 0.0"),
        ({"adaptive": True}, "adaptive is for a training with an adversary and without balance"),
        ({"adaptive": True, "balance": True, "adversary": adversary()}, "adaptive is for a training with an adversary"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ImageModule(tokenizer(), **options)


CONFIG = """
model:
  class_path: vqkit.training.ImageModule
  init_args:
    tokenizer:
      class_path: vqkit.models.ImageTokenizer
      init_args:
        backbone: {class_path: vqkit.models.ConvBackbone, init_args: {dim: 12, width: 8, residual_width: 4}}
        quantizer: {class_path: vqkit.RVQ, init_args: {dim: 12, codebook_size: 8, num_quantizers: 2, update: ema}}
data:
  class_path: vqkit.training.ImageDataModule
  init_args: {source: samples, size: 24, batch_size: 2, crop: random, crop_share: [0.5, 1.0], flip: true, valid_images: 1}
steps: 3
save_every: 2
accelerator: cpu
progress: false
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    return ["--config", str(tmp_path / "config.yaml"), "--folder", str(tmp_path / "run")]


def test_the_command_line_trains_on_the_photographs_that_ship(config, tmp_path, capsys):
    assert main([*config, "--model.tokenizer.backbone.width", "10", "--model.l2_weight=1"]) == 0
    assert capsys.readouterr().out.strip().endswith(f"trained model: {tmp_path / 'run' / 'tokenizer'}")
    trained = ImageTokenizer.from_pretrained(tmp_path / "run" / "tokenizer")
    assert trained.backbone.encoder[2].out_channels == 10
    assert trained.quantizer.num_stages == 2
    again = build_parser().parse_args(["--config", str(tmp_path / "run" / "config.yaml")])
    assert again.model.init_args.tokenizer.init_args.backbone.init_args.width == 10
    assert again.model.init_args.l2_weight == 1.0


def test_trunk_and_adversary_can_be_written_in_yaml(config, tmp_path):
    text = """
    perceptual_weight: 0.5
    perceptual:
      class_path: vqkit.training.perceptual.efficientnet_distance
      init_args: {input_size: 32, min_size: 32}
    adaptive: true
    adversary:
      class_path: vqkit.training.Adversary
      init_args:
        feature_weight: 0
        discriminator: {class_path: vqkit.nn.PatchDiscriminator, init_args: {width: 8, num_layers: 1}}
"""
    (tmp_path / "config.yaml").write_text(
        CONFIG.replace("\ndata:", text.rstrip() + "\ndata:").replace("size: 24", "size: 32")
    )
    assert main(config) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.tokenizer.backbone.width", "1"], "width at least 2"),
        (["--model.tokenizer.backbone.widht", "8"], "Option 'widht' is not accepted"),
        (["--model.tokenizer.quantizer.dim", "8"], "the backbone's latents have dim 12, the quantizer has 8"),
        (["--data.size", "0"], r"size is (0, 0), both must be at least 1"),
        (["--data.crop", "left"], "crop"),
        (["--data.source", "nowhere"], "no such file or folder: nowhere"),
    ],
)
def test_bad_input_is_one_line_and_status_2(config, flags, message, capsys):
    assert main([*config, *flags]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
