"""A codec around a quantizer of several scales codes and decodes; what it cannot do is refused in one line."""

import pytest
import torch

from vqkit import VQ, Multiscale
from vqkit.models import SpectralCodec


def test_codes_of_blocks_are_neither_streamed_nor_filed_as_if_every_frame_had_all():
    quantizer = Multiscale([VQ(16, 8), VQ(16, 8)], sizes=[1, 2])
    codec = SpectralCodec(quantizer, sample_rate=16000, encoder_width=16, decoder_width=16).eval()
    wav = 0.1 * torch.randn(1, 16000)
    codes = codec.encode(wav[None])
    assert (codes[0, 0, 1::2] == -1).all()
    assert codec.decode(codes, 16000).shape == (1, 1, 16000)
    with pytest.raises(ValueError, match="Multiscale gives some codes to whole blocks of positions.*quantizer.pack"):
        codec.compress(wav, 16000)
    with (
        pytest.raises(ValueError, match="a Multiscale quantizer codes whole blocks of frames and cannot stream"),
        codec.streaming(),
    ):
        pass
