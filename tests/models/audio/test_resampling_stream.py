import pytest
import torch

from vqkit.models.audio.resampling import resample
from vqkit.models.audio.resampling_stream import ResamplingStream, resampled_length

RATES = [(44100, 16000), (8000, 24000), (48000, 24000), (22050, 24000), (16000, 16000)]


@pytest.mark.parametrize(("rate", "target"), RATES)
@pytest.mark.parametrize("samples", [1, 7, 5001, 100_003])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_give_the_samples_of_the_whole(rate, target, samples, channels):
    wav = torch.randn(channels, samples, generator=torch.Generator().manual_seed(0))
    whole = resample(wav[None], rate, target)[0]
    assert whole.shape[-1] == resampled_length(samples, rate, target)
    for size in (997, 44100):
        stream = ResamplingStream(rate, target, channels)
        blocks = [*(stream.push(block) for block in wav.split(size, dim=-1)), stream.finish()]
        assert torch.equal(torch.cat(blocks, dim=-1), whole)


def test_rates_below_1_are_refused():
    with pytest.raises(ValueError, match="target_sample_rate must be at least 1 Hz, got 0"):
        ResamplingStream(8000, 0, 1)
