"""Pretraining of BRIDLE: its losses against formulas, its phases, and that it goes on where it was killed, bit for bit."""

import json
import math
from dataclasses import astuple
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from vqkit import FSQ, IVQ, RVQ, LooC, RandomProjection
from vqkit.models import Bridle
from vqkit.models.bridle import Stack
from vqkit.models.bridle.masking import Mask
from vqkit.training import (
    AudioDataModule,
    BridleModule,
    ImageDataModule,
    Optimisation,
    PatchAutoencoderModule,
    train,
)
from vqkit.training.bridle.module import rows_of_own_rank, standardised
from vqkit.training.phase import Phase, spans

SIZES = {"encoder": Stack(16, 1, 2), "predictor": Stack(16, 1, 2), "estimator": Stack(16, 1, 2)}
QUICK = Optimisation(learning_rate=3e-3, warmup_steps=1)


class Killed(Exception):
    pass


def bridle(modality="audio", quantizer=None, **options):
    torch.manual_seed(0)
    shapes = {
        "audio": {"size": (32, 16), "patch": (8, 8), "sample_rate": 8000},
        "image": {"size": (16, 16), "patch": (4, 4), "channels": 3},
        "video": {"size": (4, 16, 16), "patch": (2, 8, 8), "channels": 3},
    }
    quantizer = RVQ(8, 8, 2, revive="none") if quantizer is None else quantizer
    return Bridle(modality, quantizer=quantizer, **{**SIZES, **shapes[modality], **options})


def module(model=None, kill_at=None, **options):
    class Module(BridleModule):
        def training_step(self, batch, batch_idx):
            if batch_idx == kill_at:
                raise Killed
            self.seen.append(batch.clone())
            super().training_step(batch, batch_idx)

    made = Module(
        bridle() if model is None else model,
        encoder=QUICK,
        tokenizer=QUICK,
        **{"usage_every": 3, "shares": (2, 1), **options},
    )
    made.seen = []
    return made


def run(model, clips, folder, steps=10, **options):
    data = AudioDataModule(str(clips), crop_seconds=0.35, batch_size=4, valid_seconds=0.35)
    settings = {"save_every": 2, "validate_every": 5, "log_every": 1, **options}
    return train(model, data, folder=str(folder), steps=steps, accelerator="cpu", progress=False, **settings)


@pytest.mark.parametrize("kill_at", [3, 5, 7, 9], ids=["encoder 1", "tokenizer", "encoder 2", "encoder 2, later"])
def test_killed_in_any_phase_and_resumed_is_bit_equal(noise_clips, tmp_path, kill_at, whole_run):
    folder, seen = whole_run
    with pytest.raises(Killed):
        run(module(kill_at=kill_at), noise_clips, tmp_path)
    resumed = module()
    run(resumed, noise_clips, tmp_path)
    kept = kill_at // 2 * 2
    assert len(resumed.seen) == 10 - kept
    assert all(torch.equal(one, other) for one, other in zip(seen[kept:], resumed.seen, strict=True))
    for file in ("last.safetensors", "bridle/model.safetensors", "iteration-1/model.safetensors", "usage.json"):
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes(), file


@pytest.fixture(scope="module")
def whole_run(noise_clips, tmp_path_factory):
    """A run that was never interrupted, and its batches."""
    folder = tmp_path_factory.mktemp("whole")
    model = module()
    run(model, noise_clips, folder)
    return folder, model.seen


def test_a_run_leaves_its_iterations_and_counts_codes(whole_run, tmp_path):
    folder, _ = whole_run
    first, last = (Bridle.from_pretrained(folder / name) for name in ("iteration-1", "bridle"))
    assert not first.tokenizer.trained
    assert last.tokenizer.trained
    records = json.loads((folder / "usage.json").read_text())
    assert [(record["step"], record["phase"]) for record in records] == [
        (3, "encoder 1"),
        (4, "encoder 1"),
        (6, "tokenizer 1"),
        (9, "encoder 2"),
        (10, "encoder 2"),
    ]
    assert [len(record.get("histograms", [])) for record in records] == [0, 2, 2, 0, 2]
    # a step has 4 items of 4 rows and 2 columns of patches
    assert [sum(records[1]["histograms"][0]), sum(records[2]["histograms"][0])] == [32, 2 * 32]
    assert all(0 < stage["usage"] <= 1 for record in records for stage in record["stages"])


def test_another_number_of_steps_would_lay_the_phases_out_anew(noise_clips, tmp_path):
    run(module(), noise_clips, tmp_path, steps=5)
    with pytest.raises(
        ValueError, match="laid out over 5 steps, not 9: go on with --steps 5, or choose another --folder"
    ):
        run(module(), noise_clips, tmp_path, steps=9)


def test_what_a_phase_freezes_stays(noise_clips, tmp_path):
    states = {}

    class Watched(BridleModule):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            states[batch_idx + 1] = {name: value.clone() for name, value in self.bridle.state_dict().items()}

    watched = Watched(bridle(), encoder=QUICK, tokenizer=QUICK, shares=(2, 1))
    run(watched, noise_clips, tmp_path)
    changed = {
        end: {name.partition(".")[0] for name in states[1] if not torch.equal(states[begin][name], states[end][name])}
        for begin, end in ((1, 4), (5, 6), (6, 10))
    }
    assert changed == {4: {"encoder", "predictor"}, 6: {"tokenizer", "estimator"}, 10: {"encoder", "predictor"}}
    fresh = [
        name
        for name in states[1]
        if name.startswith("tokenizer.encoder") and torch.equal(states[4][name], states[5][name])
    ]
    assert all("bias" in name or "norm" in name for name in fresh)  # matrices are drawn anew


def test_the_encoder_loss_is_the_cross_entropy_of_hidden_codes():
    torch.manual_seed(1)
    trained = module()
    trained.log = lambda *_, **__: None
    x = torch.randn(3, 1, 2800)
    x[2, :, 1600:] = 0  # silence has nothing to predict
    cut = trained.cut(x)
    torch.manual_seed(2)
    loss = trained.encoder_losses(cut)["encoder"]
    torch.manual_seed(2)
    model = trained.bridle
    mask = Mask(*rows_of_own_rank(lambda items: astuple(model.mask(cut, 0.8, items)), 3))
    codes = model.tokenizer.codes(cut.values, cut.grid)
    logits = model.predictor.logits(model.predictor(model.encoder(cut.values, mask.kept), mask, cut.grid))
    logits = [own.detach() for own in logits]
    total, count = 0.0, 0
    for item in range(3):
        for place, hidden in enumerate(mask.hidden[item].tolist()):
            if item == 2 and hidden // 2 >= 3:  # rows of patches behind 1600 samples
                continue
            count += 1
            for m in range(2):
                total -= float(logits[m][item, place].log_softmax(-1)[codes[item, hidden, m]])
    assert loss.item() == pytest.approx(total / count / 2, rel=1e-5)


def test_the_tokenizer_losses_are_those_of_the_paper():
    torch.manual_seed(1)
    trained = module(teacher="raw")
    trained.bridle.quantizer.eval()
    trained.bridle.tokenizer.eval()
    cut = trained.cut(torch.randn(3, 1, 2800))
    losses = trained.tokenizer_losses(cut, first=False)
    model = trained.bridle
    unit = F.normalize(model.tokenizer.latents(cut.values, cut.grid), dim=-1)
    codes = model.quantizer.encode(unit)
    terms = [F.mse_loss(model.quantizer.decode(codes[..., : stage + 1], stages=stage + 1), unit) for stage in range(2)]
    assert losses["codebook"].item() == pytest.approx(0.25 * sum(term.item() for term in terms) / 2, rel=1e-4)
    estimate = model.estimator(model.quantizer.decode(codes).flatten(1, 2))
    cosine = 1 - F.cosine_similarity(model.encoder(cut.values), estimate, dim=-1).mean()
    assert losses["cosine"].item() == pytest.approx(cosine.item(), rel=1e-4)


def test_a_standardised_teacher_has_no_common_part():
    vectors = standardised(torch.randn(6, 50, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([7.0, -3.0, 0.0]))
    torch.testing.assert_close(vectors.mean((0, 1)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(vectors.var((0, 1)), torch.ones(3), atol=2e-2, rtol=0)


def test_unused_codes_are_reset_once():
    torch.manual_seed(0)
    model = bridle(quantizer=RVQ(8, 8, 1, init="uniform", revive="none"), normalise="none")
    book = model.tokenizer.codebooks()[0]
    book.weight[4:] += 100  # nothing comes near
    book.ema_sum.copy_(book.weight)
    z = torch.randn(2, 4, 2, 8)
    model.quantizer.train()
    with model.tokenizer.resetting_unused():
        model.tokenizer.quantize(z)
    assert book.weight.abs().max() < 10
    assert torch.cdist(book.weight[4:], z.flatten(0, 2)).amin(1).max() < 1e-5  # vectors of the batch
    assert book.revive == "none"
    book.weight[4:] += 100
    book.ema_sum.copy_(book.weight * book.ema_count[:, None])
    model.tokenizer.quantize(z)
    assert book.weight[4:].abs().max() > 50  # a later batch resets nothing


def test_joint_training_updates_the_tokenizer_now_and_then(noise_clips, tmp_path):
    states = []

    class Watched(BridleModule):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            states.append((self.bridle.tokenizer.outer.weight.clone(), self.bridle.encoder.norm.weight.clone()))

    joint = Watched(bridle(), encoder=QUICK, joint=True, tokenizer_every=3, shares=(2, 8))
    run(joint, noise_clips, tmp_path)
    moved = [[not torch.equal(a, b) for a, b in zip(one, other, strict=True)] for one, other in pairwise(states)]
    assert [tokenizer for tokenizer, _ in moved] == [False, True, False, False, True, False, False, True, False]
    assert all(encoder for _, encoder in moved)


@pytest.mark.parametrize(
    "quantizer",
    [IVQ(60), LooC(8, 8, 4, scale=2, spatial_dims=2), FSQ(8, levels=[5, 5]), RandomProjection(8, 16, code_dim=4)],
    ids=["IVQ", "LooC", "FSQ", "RandomProjection"],
)
def test_other_quantizers_train(noise_clips, tmp_path, quantizer):
    run(module(bridle(quantizer=quantizer)), noise_clips, tmp_path, steps=5)
    assert Bridle.from_pretrained(tmp_path / "bridle").tokenizer.trained


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_images_train_and_learn(blob_images, tmp_path, precision):
    model = module(bridle("image"), shares=(3, 1))
    data = ImageDataModule(str(blob_images), size=16, batch_size=8, crop="random", crop_share=(0.7, 1.0))
    train(
        model,
        data,
        folder=str(tmp_path),
        steps=24,
        accelerator="cpu",
        progress=False,
        precision=precision,
        validate_every=24,
    )
    assert model.trainer.callback_metrics["valid/encoder"] < math.log(8)  # better than a guess


def test_masked_autoencoding_predicts_normalised_patches(blob_images, tmp_path):
    torch.manual_seed(0)
    model = PatchAutoencoderModule(bridle("image"), optimisation=QUICK)
    before = {name: value.clone() for name, value in model.bridle.tokenizer.state_dict().items()}
    losses = []
    model.log = lambda name, value, **_: losses.append(value.item()) if name == "train/patches" else None
    data = ImageDataModule(str(blob_images), size=16, batch_size=8, valid_split=None)
    train(model, data, folder=str(tmp_path), steps=60, accelerator="cpu", progress=False)
    assert losses[0] > 1.2
    assert sum(losses[-5:]) / 5 < 0.99  # the mean of a patch alone gives 1
    assert all(torch.equal(before[name], value) for name, value in model.bridle.tokenizer.state_dict().items())


def test_the_published_size_takes_a_step():
    torch.manual_seed(0)
    model = Bridle.preset("audio-base", RVQ(256, 16, 4, revive="none"))
    trained = BridleModule(model)
    trained.log = lambda *_, **__: None
    x = torch.randn(1, 1, 400 + 160 * 63)  # four rows of patches: one row of windows
    trained.start(x)
    trained.encoder_losses(trained.cut(x))["encoder"].backward()
    norm = torch.nn.utils.clip_grad_norm_(model.encoder.parameters(), 1.0)
    assert torch.isfinite(norm)
    assert norm > 0


def test_shares_of_phases():
    phases = [
        Phase(name="warm", steps=10),
        Phase(name="a", share=130),
        Phase(name="b", share=30),
        Phase(name="c", share=130),
    ]
    laid = [(span.phase.name, span.first, span.steps) for span in spans(phases, 300)]
    assert laid == [("warm", 0, 10), ("a", 10, 130), ("b", 140, 30), ("c", 170, 130)]
    assert sum(span.steps for span in spans(phases, 47)) == 47
    with pytest.raises(
        ValueError, match="only one phase may be without a number of steps, unless all those have shares"
    ):
        spans([Phase(name="a"), Phase(name="b")], 10)
    with pytest.raises(ValueError, match="share=0 and steps=None: give a positive share, or steps"):
        Phase(name="a", share=0)


def test_arguments_are_checked():
    for options, message in (
        ({"mask_ratio": 1.0}, "mask_ratio must be between 0 and 1, got 1.0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"teacher": "best"}, "teacher must be 'standardised' or 'raw', got 'best'"),
        ({"tokenizer_every": 0}, "joint_weight must be positive, tokenizer_every and usage_every at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            module(**options)
