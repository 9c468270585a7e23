"""Files that go through the networks together: each has the codes that it has alone."""

import io

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vqkit import RVQ, VQ, Interpolated, Residual
from vqkit.bitstream import VqkReader
from vqkit.coding.audio import lanes as sound_lanes
from vqkit.coding.audio.blocks import encoded_blocks
from vqkit.coding.audio.encode import encode_file
from vqkit.coding.audio.kind import SOUND
from vqkit.coding.audio.lanes import encode_sounds, encoded_lanes
from vqkit.coding.image.encode import encode_image_file
from vqkit.coding.image.lanes import encode_images
from vqkit.coding.kind import Encoding, Kind
from vqkit.coding.rate import Rate
from vqkit.models import AudioCodec, ConvBackbone, ImageTokenizer, SpectralCodec

RATE = 8000
LENGTHS = (2 * RATE, 2 * RATE + 1, 17, RATE - 1)  # whole pieces, a sample more, less than a kernel


def small(make, quantizer=None, channels=1, **options):
    torch.manual_seed(0)
    codec = make(quantizer or RVQ(8, 16, 3), sample_rate=RATE, channels=channels, **options).eval()
    codec.initialize(0.1 * torch.randn(1, channels, RATE))
    codec.quantizer.fit(codec.analyze(0.1 * torch.randn(1, channels, 2 * RATE)))
    return codec


SPECTRAL = {"hop_samples": 160, "encoder_width": 24, "encoder_blocks": 2, "decoder_width": 8, "decoder_blocks": 1}
ENCODEC = {"num_filters": 2, "strides": (4, 5), "num_lstm_layers": 1}
CODECS = {
    "spectral": lambda: small(SpectralCodec, **SPECTRAL),
    "causal, with an LSTM": lambda: small(AudioCodec, **ENCODEC),
    "stereo, sees the future": lambda: small(AudioCodec, channels=2, causal=False, **ENCODEC),
    "neighbours": lambda: small(
        SpectralCodec, Residual([Interpolated(VQ(8, 16), scale=2, spatial_dims=1), VQ(8, 16)]), **SPECTRAL
    ),
    "whole sounds": lambda: small(AudioCodec, norm="time_group_norm", **ENCODEC),
}


def joined(codec, sounds, lanes):
    found = {index: [] for index in range(len(sounds))}
    ended = set()
    for index, codes in encoded_lanes(codec, sounds, lanes):
        assert index not in ended
        if codes is None:
            ended.add(index)
        else:
            found[index].append(codes)
    assert ended == set(found)
    return [torch.cat(found[index]) for index in found]


class Latents:
    """In place of the quantizer: what it is given."""

    def __init__(self, quantizer):
        pass

    def push(self, z, last=False):
        return z.clone()

    def lane(self, index):
        return self


@pytest.mark.parametrize("name", CODECS)
def test_codes_do_not_depend_on_the_company(name, monkeypatch):
    """Bit for bit in the same lane, down to the latents; one lane is the codec in blocks, several are but for rounding."""
    codec = CODECS[name]()
    sounds = [[0.1 * torch.randn(codec.channels, length)] for length in LENGTHS]
    plain = [torch.cat(list(encoded_blocks(codec, sound))) for sound in sounds]
    for sound, codes in zip(sounds, plain, strict=True):
        assert torch.equal(joined(codec, [sound], 1)[0], codes)
    together = joined(codec, sounds, 5)
    assert [codes.shape for codes in together] == [codes.shape for codes in plain]
    differing = sum(int((one != other).sum()) for one, other in zip(together, plain, strict=True))
    assert differing <= 2e-3 * sum(codes.numel() for codes in plain)  # where two codes lie equally near
    if name != "whole sounds":
        monkeypatch.setattr(sound_lanes, "StreamingQuantizer", Latents)
        together = joined(codec, sounds, 5)
    other = [[0.1 * torch.randn(codec.channels, 2 * RATE)]]
    for index, latent in enumerate(together):
        company = [*other * index, sounds[index], *other * (2 - index)]
        assert torch.equal(latent, joined(codec, company, 5)[index])


def wav(seed, seconds):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), RATE, format="WAV")
    return file.getvalue()


def test_a_sound_that_fails_leaves_the_others_alone(tmp_path):
    codec = CODECS["spectral"]()
    contents = [wav(0, 1.5), b"RIFF1234", wav(2, 2.7), b"", wav(4, 0.3), wav(5, 1.5)]
    paths = [tmp_path / f"{number}.wav" for number in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    soundfile.write(tmp_path / "nan.wav", np.full(2 * RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    paths.append(tmp_path / "nan.wav")
    files = [io.BytesIO() for _ in paths]
    results = encode_sounds(codec, paths, files, 3, Rate(stages=2), plain=True)
    for index, (path, file, result) in enumerate(zip(paths, files, results, strict=True)):
        alone = io.BytesIO()
        if index in (1, 3, 6):
            with pytest.raises(type(result)) as raised:
                encode_file(codec, path, alone, Rate(stages=2), plain=True)
            assert str(result) == str(raised.value)
        else:
            assert result == encode_file(codec, path, alone, Rate(stages=2), plain=True)
            codes, expected = (VqkReader(io.BytesIO(one.getvalue())).read() for one in (file, alone))
            assert codes.shape == expected.shape
            assert (codes == expected).float().mean() > 0.998
    with pytest.raises(ValueError, match="lanes must be at least 1, got 0"):
        encode_sounds(codec, [], [], 0)


def test_a_kind_without_lanes_takes_its_files_one_by_one(tmp_path):
    codec = CODECS["spectral"]()
    for number, data in enumerate((wav(0, 0.4), b"RIFF1234")):
        (tmp_path / f"{number}.wav").write_bytes(data)
    paths, files, seen = [tmp_path / "0.wav", tmp_path / "1.wav"], [io.BytesIO(), io.BytesIO()], []
    good, bad = Kind.encode_together(SOUND, codec, paths, files, Encoding(Rate(), plain=True), 4, seen.append)
    assert good == encode_file(codec, paths[0], io.BytesIO(), plain=True)
    assert isinstance(bad, ValueError)
    assert seen == [0, 1]


def test_images_of_one_size_share_a_batch(tmp_path):
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(ConvBackbone(dim=8, width=4, residual_width=2, residual_blocks=1), RVQ(8, 16, 2)).eval()
    tokenizer.initialize(torch.rand(1, 3, 64, 64))
    tokenizer.quantizer.fit(tokenizer.analyze(torch.rand(2, 3, 64, 64)))
    random, paths = np.random.default_rng(0), []
    for number, size in enumerate([(24, 31), (40, 16), (24, 31), (24, 31), (24, 31), (530, 9)]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(paths[-1])
    paths.append(tmp_path / "bad.png")
    paths[-1].write_bytes(b"\x89PNG\r\n\x1a\n")
    files = [io.BytesIO() for _ in paths]
    results = encode_images(tokenizer, paths, files, 3, plain=True)
    assert isinstance(results[-1], ValueError)
    for path, file, result in zip(paths[:-1], files, results, strict=False):
        alone = io.BytesIO()
        assert encode_image_file(tokenizer, path, alone, plain=True) == result
        codes, expected = (VqkReader(io.BytesIO(one.getvalue())).read() for one in (file, alone))
        assert (codes == expected).float().mean() > 0.998
    again = [io.BytesIO() for _ in paths]
    assert encode_images(tokenizer, paths[:-1], again[:-1], 3, plain=True) == results[:-1]
    assert [file.getvalue() for file in again] == [file.getvalue() for file in files]
