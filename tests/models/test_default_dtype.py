"""Models that were loaded before give the same files and signals under another default dtype of PyTorch."""

import pytest
import torch

from vqkit.models import AudioCodec, ImageTokenizer


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16], ids=str)
def test_files_and_signals_are_the_same(default):
    codec, tokenizer = AudioCodec.from_pretrained(), ImageTokenizer.from_pretrained()
    generator = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(1, 20000, generator=generator)
    image = torch.rand(3, 40, 50, generator=generator)

    def made():
        sound, picture = codec.compress(wav, 16000, kbps=3), tokenizer.compress(image)
        return sound, picture, codec.decompress(sound)[0], tokenizer.decompress(picture)

    expected = made()
    try:
        torch.set_default_dtype(default)
        found = made()
    finally:
        torch.set_default_dtype(torch.float32)
    assert found[:2] == expected[:2]
    for own, other in zip(found[2:], expected[2:], strict=True):
        assert own.dtype == torch.float32
        assert torch.equal(own, other)
