"""True is no count and no rate, wherever one is given: each place refuses it by the name that it has there."""

import io

import numpy as np
import pytest
import torch

from vqkit import RVQ, BlockTruncation, TurboQuant
from vqkit.bitstream import VqkHeader, VqkReader, VqkWriter, cut, thin, thin_to_fit
from vqkit.coding import Rate
from vqkit.counts import check_numbers, check_stages
from vqkit.models import ImageTokenizer, PixelBackbone, SpectralCodec, VideoTokenizer
from vqkit.models.audio.compression import vqk_header
from vqkit.models.audio.level_matching import LevelMatching
from vqkit.models.audio.rates import check_sample_rate
from vqkit.models.audio.refinement import LatentRefinement
from vqkit.models.audio.resampling import resample
from vqkit.models.image.compression import encode_image
from vqkit.models.image.to_size import encode_to_fit

QUANTIZER = RVQ(16, 16, 3).eval()
CODEC = SpectralCodec(RVQ(16, 16, 3), encoder_width=8, decoder_width=8, causal=True).eval()
IMAGES = ImageTokenizer(PixelBackbone(4, channels=1), RVQ(16, 16, 3)).eval()
VIDEOS = VideoTokenizer(RVQ(16, 16, 3), width=4, residual_width=2, residual_blocks=1).eval()
Z, WAV = torch.zeros(1, 2, 16), torch.zeros(1, 1, 4000)
IMAGE, VIDEO = torch.zeros(1, 8, 8), torch.zeros(3, 4, 16, 16)


def file(**options):
    target = io.BytesIO()
    with VqkWriter(target, VqkHeader(code_sizes=(4,) * 3), **options) as writer:
        writer.write(torch.zeros(9, 3, dtype=torch.long))
    return io.BytesIO(target.getvalue())


TAKES = {
    "stages of vectors": lambda flag: QUANTIZER.encode(Z, stages=flag),
    "rate_weight of vectors": lambda flag: QUANTIZER.encode(Z, rate_weight=flag),
    "stages of codes": lambda flag: QUANTIZER.decode(QUANTIZER.encode(Z), flag),
    "stages kept": lambda flag: QUANTIZER.first_stages(QUANTIZER.encode(Z), flag),
    "bits": lambda flag: QUANTIZER.stages_within(flag),
    "iterations": lambda flag: RVQ(16, 2, 1).fit(torch.randn(9, 16), iterations=flag),
    "max_vectors": lambda flag: RVQ(16, 2, 1).fit(torch.randn(9, 16), max_vectors=flag),
    "gain_bits": lambda flag: TurboQuant(4, 2, gain_bits=flag),
    "refinements": lambda flag: BlockTruncation(16, refinements=flag),
    "run": lambda flag: BlockTruncation(16, run=flag),
    "kbps of sound": lambda flag: CODEC.encode(WAV, flag),
    "sample_rate of sound": lambda flag: CODEC.encode(WAV, sample_rate=flag),
    "samples": lambda flag: CODEC.decode(CODEC.encode(WAV), flag),
    "kbps of a file": lambda flag: CODEC.compress(WAV[0], 16000, flag),
    "rate_weight of a file": lambda flag: CODEC.compress(WAV[0], 16000, rate_weight=flag),
    "stages of a rate": lambda flag: CODEC.bitrate_kbps(flag),
    "kbps of a stream": lambda flag: CODEC.streaming(flag),
    "block_frames": lambda flag: CODEC.streaming(block_frames=flag),
    "stages of a header": lambda flag: vqk_header(CODEC, flag),
    "stages of a refinement": lambda flag: LatentRefinement(CODEC, flag),
    "kbps of a refinement": lambda flag: LatentRefinement(CODEC, kbps=flag),
    "stages of level matching": lambda flag: LevelMatching(CODEC, flag),
    "sample_rate of a codec": check_sample_rate,
    "sample_rate": lambda flag: resample(WAV, flag, 2),
    "bpp": lambda flag: IMAGES.encode(IMAGE[None], flag),
    "bpp of a file": lambda flag: IMAGES.compress(IMAGE, flag),
    "max_bytes": lambda flag: encode_to_fit(IMAGES, io.BytesIO(), IMAGE, max_bytes=flag),
    "stages of an image": lambda flag: encode_image(IMAGES, io.BytesIO(), IMAGE, flag),
    "kbps of video": lambda flag: VIDEOS.encode(VIDEO[None], flag),
    "kbps of a file of video": lambda flag: VIDEOS.compress(VIDEO, kbps=flag),
    "stages to encode": lambda flag: Rate(stages=flag),
    "kbps to encode": lambda flag: Rate(kbps=flag),
    "rate_weight to encode": lambda flag: Rate(rate_weight=flag),
    "stages to read": lambda flag: VqkReader(file(), stages=flag),
    "frames": lambda flag: VqkReader(file()).read(0, flag),
    "start_frame": lambda flag: VqkReader(file()).read(flag),
    "stages to keep": lambda flag: thin(file(), io.BytesIO(), flag),
    "max_bytes of a file": lambda flag: thin_to_fit(file(), io.BytesIO(), max_bytes=flag),
    "frames to keep": lambda flag: cut(file(), io.BytesIO(), 0, flag),
    "chunk_frames": lambda flag: file(chunk_frames=flag),
}


@pytest.mark.parametrize("flag", [True, False, np.True_], ids=repr)
@pytest.mark.parametrize("name", TAKES)
def test_a_flag_is_refused_by_name(name, flag):
    with pytest.raises(ValueError, match=rf"^{name.partition(' ')[0]}\b.*\b{bool(flag)}_?\b"):
        TAKES[name](flag)


def test_numbers_stay_what_they_are():
    check_numbers(kbps=1, frames=np.int64(0), weight=np.float32(0.5), bpp=None)
    assert check_stages(np.int64(2), 2) == 2
    assert check_stages(torch.tensor(1), 2) == 1
    for wrong in (1.0, 0, 3):
        with pytest.raises(ValueError, match=f"stages is {wrong}, the file has 1 to 2"):
            check_stages(wrong, 2, "the file")
