"""Videos as training data: a step's clips depend on the step only, and a `Bridle` trains on them."""

import av
import numpy as np
import pytest
import torch

from vqkit import RVQ
from vqkit.losses import WeightedLoss
from vqkit.models import Bridle, VideoTokenizer
from vqkit.models.bridle import Stack
from vqkit.training import BridleModule, Optimisation, ReconstructionModule, VideoDataModule, train


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos of moving noise, two to train on and one to validate with."""
    folder = tmp_path_factory.mktemp("videos")
    random = np.random.default_rng(0)
    for name in ("train/a", "train/b", "valid/c"):
        path = folder / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        pattern = random.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.height, stream.width, stream.pix_fmt = 24, 32, "yuv420p"
            for index in range(12):
                frame = av.VideoFrame.from_ndarray(np.roll(pattern, 2 * index, axis=1), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return folder


def run(videos, folder, **options):
    torch.manual_seed(0)
    sizes = {"encoder": Stack(16, 1, 2), "predictor": Stack(16, 1, 2), "estimator": Stack(16, 1, 2)}
    bridle = Bridle("video", (4, 16, 16), (2, 8, 8), quantizer=RVQ(8, 8, 2), channels=3, **sizes)
    quick = Optimisation(learning_rate=3e-3, warmup_steps=1)

    class Module(BridleModule):
        def training_step(self, batch, batch_idx):
            self.seen.append(batch.clone())
            super().training_step(batch, batch_idx)

    module = Module(bridle, encoder=quick, tokenizer=quick, shares=(2, 1), mask_ratio=0.5)
    module.seen = []
    data = VideoDataModule(str(videos), stride=2, batch_size=4, **options)
    train(module, data, folder=str(folder), steps=5, accelerator="cpu", progress=False, validate_every=5)
    return module


def test_a_video_model_trains_on_clips_that_only_the_step_decides(videos, tmp_path):
    one, other = run(videos, tmp_path / "one"), run(videos, tmp_path / "other", valid_clips=1)
    assert len(one.seen) == 5
    assert one.seen[0].shape == (4, 3, 4, 16, 16)
    assert all(torch.equal(a, b) for a, b in zip(one.seen, other.seen, strict=True))
    assert not torch.equal(one.seen[0], one.seen[1])
    assert torch.isfinite(one.trainer.callback_metrics["valid/encoder"])
    assert Bridle.from_pretrained(tmp_path / "one" / "bridle").tokenizer.trained
    changed = run(videos, tmp_path / "seed", seed=1)
    assert not torch.equal(one.seen[0], changed.seen[0])


def test_a_tokenizer_of_video_trains_and_is_validated(videos, tmp_path):
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(RVQ(8, 8, 2), width=8, residual_width=4, residual_blocks=1)
    module = ReconstructionModule(tokenizer, [WeightedLoss("l1", torch.nn.L1Loss())])
    data = VideoDataModule(str(videos), stride=2, size=(4, 16, 16), batch_size=2)
    train(module, data, folder=str(tmp_path), steps=3, accelerator="cpu", progress=False, validate_every=3)
    assert VideoTokenizer.from_pretrained(tmp_path / "tokenizer").initialized
    metrics = module.trainer.callback_metrics
    clip = data._clips(data.items("valid"))[0][None]
    made = tokenizer.eval()(clip).signal.clamp(0, 1)
    assert float(metrics["valid/mae"]) == pytest.approx(float((made - clip).detach().abs().mean()), rel=1e-4)
    assert float(metrics["valid/psnr"]) == pytest.approx(
        float(-10 * (made - clip).detach().square().mean().log10()), rel=1e-4
    )
    with pytest.raises(ValueError, match="size must be given: frames, height and width"):
        train(
            ReconstructionModule(tokenizer, [WeightedLoss("l1", torch.nn.L1Loss())]),
            VideoDataModule(str(videos)),
            folder=str(tmp_path / "other"),
            steps=1,
            accelerator="cpu",
            progress=False,
        )


def test_arguments_are_checked(videos):
    with pytest.raises(
        ValueError, match="stride, batch_size and valid_clips must be positive and num_workers at least 0, got 0, 8"
    ):
        VideoDataModule(str(videos), stride=0)
