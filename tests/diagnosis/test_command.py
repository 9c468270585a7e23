"""``vqkit doctor`` on saved models, and the callback in a run."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vqkit import RVQ, VQ
from vqkit.cli import main
from vqkit.diagnosis.callback import DoctorCallback
from vqkit.diagnosis.latents import item_latents
from vqkit.models import AudioCodec, ConvBackbone, ImageTokenizer

RATE = 8000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for seed in range(3):
        noise = np.random.default_rng(seed).standard_normal(RATE * 3) * 0.1
        soundfile.write(folder / f"{seed}.wav", noise, RATE)
    (folder / "bad.wav").write_bytes(b"RIFF")
    return folder


@pytest.mark.filterwarnings("ignore:.*far outside ±1")
def test_sound_of_no_sensible_size_is_left_out_by_name(tmp_path):
    noise = np.random.default_rng(0).standard_normal(RATE) * 0.1
    for name, size in (("a", 1), ("far", 1e20)):
        soundfile.write(tmp_path / f"{name}.wav", size * noise, RATE, subtype="FLOAT")
    codec = AudioCodec(RVQ(12, 16, 2), sample_rate=RATE, num_filters=2, strides=(2, 4)).eval()
    with pytest.warns(UserWarning, match=r"far\.wav: reaches"):
        assert len(list(item_latents(codec, tmp_path))) == 1


def test_models_without_networks(tmp_path, capsys):
    """The image tokenizers that ship have a fixed transform and no parameters."""
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    for index in range(2):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / f"in/{index}.png")
    for name in ("vqkit-image-2", "vqkit-image-drawn"):
        assert main(["doctor", name, str(tmp_path / "in")]) in (0, 1)
        assert "vectors" in capsys.readouterr().out


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    codec = AudioCodec(
        RVQ(12, 16, 2, update="gradient", init="uniform", revive="none"),
        sample_rate=RATE,
        num_filters=2,
        strides=(2, 4),
        num_lstm_layers=1,
    ).eval()
    codec.initialize(0.1 * torch.randn(1, 1, RATE))
    folder = tmp_path_factory.mktemp("model")
    codec.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:skipped")
def test_a_codec_that_was_never_trained(model, sounds, tmp_path, capsys):
    page = tmp_path / "doctor.html"
    assert main(["doctor", str(model), str(sounds), "--json", "--html", str(page), "--vectors", "2048"]) == 0
    said = capsys.readouterr()
    assert re.search(r"^\d{4} vectors are encoded, and now examined$", said.err, re.MULTILINE)
    record = json.loads(said.out)
    assert "dead start" in [finding["cause"] for finding in record["findings"]]
    assert 1000 < record["measures"]["vectors"] <= 1024
    assert "dead start" in page.read_text()
    assert main(["doctor", str(model), str(sounds), "--strict", "--no-trials", "--vectors", "1024"]) == 1
    assert "fault: dead start" in capsys.readouterr().out


def test_an_image_tokenizer(tmp_path, capsys):
    torch.manual_seed(0)
    backbone = ConvBackbone(dim=8, channels=3, width=4, residual_width=2, residual_blocks=1)
    tokenizer = ImageTokenizer(backbone, RVQ(8, 16, 2)).eval()
    images = torch.rand(4, 3, 64, 64)
    tokenizer.initialize(images)
    tokenizer.quantizer.fit(tokenizer.analyze(images))
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "images").mkdir()
    for index, image in enumerate(images):
        pixels = (image.permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    assert main(["doctor", str(tmp_path / "model"), str(tmp_path / "images"), "--strict"]) == 0
    assert "RVQ(dim=8, codebook_size=16, num_quantizers=2)" in capsys.readouterr().out


def test_errors_are_one_line(model, sounds, capsys, tmp_path):
    assert main(["doctor", str(model), str(tmp_path / "nothing")]) == 2
    assert main(["doctor", str(tmp_path), str(sounds)]) == 2
    assert main(["doctor", str(model), str(sounds), "--vectors", "1"]) == 2
    assert main(["doctor", str(model), str(sounds), "--device", "nowhere"]) == 2
    assert main(["doctor", str(model), str(sounds), "--seed", "-1"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 5
    assert "--vectors is 1" in lines[2]
    assert "device 'nowhere' cannot be used" in lines[3]
    assert "--seed is -1, it must be at least 0" in lines[4]


def test_folders_around_a_model_name_it(model, sounds, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "run" / "codec")
    assert main(["doctor", str(tmp_path / "run"), str(sounds)]) == 2
    assert (
        f"run is not a saved model: config.json is missing; there is one in {tmp_path / 'run' / 'codec'}\n"
        in capsys.readouterr().err
    )


def test_a_page_replaces_nothing_that_it_is_made_from(model, sounds, tmp_path, capsys):
    (tmp_path / "link.html").symlink_to(sounds / "0.wav")
    for source, page in (
        (sounds / "0.wav", sounds / "0.wav"),
        (sounds / "0.wav", tmp_path / "link.html"),
        (sounds, sounds / "1.wav"),
        (sounds, model / "config.json"),
    ):
        before = page.read_bytes()
        assert main(["doctor", str(model), str(source), "--no-trials", "--vectors", "64", "--html", str(page)]) == 2
        assert "which would be lost" in capsys.readouterr().err
        assert page.read_bytes() == before


def train(callback, steps=6):
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 4)
            self.quantizer = VQ.paper(4, 16)

        def training_step(self, batch, _):
            z = self.layer(batch) + 4
            out = self.quantizer(z)
            return out.loss + (out.z_q - batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    torch.manual_seed(0)
    module = Module()
    data = DataLoader([torch.randn(32, 4) for _ in range(8)], batch_size=8)
    trainer = Trainer(
        max_epochs=steps,
        limit_train_batches=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[callback] if callback else [],
    )
    trainer.fit(module, data)
    return module.state_dict()


@pytest.mark.filterwarnings("ignore")
def test_the_callback_looks_and_changes_nothing(tmp_path):
    callback = DoctorCallback(every_steps=1, folder=str(tmp_path))
    watched, plain = train(callback), train(None)
    assert all(torch.equal(value, plain[name]) for name, value in watched.items())
    found = callback.last["quantizer"]
    assert found.measures.vectors == 8 * 32 // 2
    record = json.loads((tmp_path / "doctor-1.json").read_text())
    assert record["quantizer_name"] == "quantizer"
    with pytest.raises(ValueError, match="every_steps must be at least 1"):
        DoctorCallback(every_steps=0)


def test_the_callback_warns_of_faults():
    with pytest.warns(UserWarning, match=r"step 1, quantizer: fault: dead start"):
        train(DoctorCallback(every_steps=1), steps=1)


def test_the_callback_does_not_end_a_training_that_diverges():
    class Diverges(DoctorCallback):
        def on_train_batch_end(self, trainer, pl_module, *rest):
            with torch.no_grad():
                pl_module.quantizer.codebook.weight.fill_(torch.nan)
            super().on_train_batch_end(trainer, pl_module, *rest)

    callback = Diverges(every_steps=1)
    with pytest.warns(UserWarning, match=r"step 1, quantizer: not examined: the quantizer's own .* in 16 of 16 rows"):
        train(callback, steps=1)
    assert not callback.last
