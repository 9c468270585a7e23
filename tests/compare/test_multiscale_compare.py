"""A quantizer of several scales is one expression of a comparison, and its rate is that of the codes that are there."""

import json

import pytest
import torch

from vqkit.compare.backbones.frames import Backbone
from vqkit.compare.runner import Comparison, Dataset, compare
from vqkit.data import write_audio


def test_codes_of_several_scales_are_compared_at_their_rate(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for split in ("train", "test"):
        for index in range(2):
            (tmp_path / "sounds" / split).mkdir(parents=True, exist_ok=True)
            wave = 0.1 * torch.randn(1, 24000, generator=generator)
            write_audio(tmp_path / "sounds" / split / f"{split}{index}.wav", wave, 16000)
    systems = {
        "scales": "Multiscale([VQ(dim, 8), VQ(dim, 8), VQ(dim, 8)], sizes=(1, 2, 4))",
        "alone": "Residual([VQ(dim, 8), VQ(dim, 8)])",
    }
    backbone = Backbone(sample_rate=16000, hop_samples=48, steps=2, batch_size=2, run_frames=16)
    task = Comparison(systems, backbone, Dataset(str(tmp_path / "sounds")), seeds=(0,), listen=1)
    out = compare(task, tmp_path / "out", "vqkit compare")
    scales, alone = json.loads((out / "results.json").read_text())["systems"]
    # 3 bits for each of the 1 + 2 + 4 codes of four frames
    assert (scales["bits_per_token"], alone["bits_per_token"]) == (5.25, 6.0)
    rates = [row["kbps"]["mean"] for row in (scales, alone)]
    assert rates[0] / rates[1] == pytest.approx(5.25 / 6, rel=0.02)  # bytes really written
    assert len(scales["residual_energy"]) == 4
    assert scales["residual_energy"][0] == 1 > scales["residual_energy"][-1]
    assert [point["stages"] for point in scales["rate_curve"]] == [1, 2, 3]
