import pytest
import torch
from torch import nn

from vqkit.nn import STFTDiscriminator


def test_shapes_follow_windows_strides_and_channels():
    judgement = STFTDiscriminator(num_filters=3, window_samples=(256, 64))(torch.randn(2, 2, 640))
    assert [tuple(score.shape) for score in judgement.scores] == [(4, 1, 11, 17), (4, 1, 41, 5)]
    assert [[layer.shape[-1] for layer in part] for part in judgement.features] == [
        [129, 65, 33, 17, 17],
        [33, 17, 9, 5, 5],
    ]


def test_equals_plain_convolutions_of_the_scaled_spectrum():
    torch.manual_seed(0)
    discriminator = STFTDiscriminator(num_filters=2, window_samples=(64,), dilations=(1, 2))
    wav, part = torch.randn(1, 1, 320), discriminator.parts[0]
    window = torch.hann_window(64)
    frames = nn.functional.pad(wav[0], (32, 32), "reflect")[0].unfold(0, 64, 16) * window
    spectrum = torch.fft.rfft(frames) / window.square().sum().sqrt()  # (frames, bins)
    x = torch.stack([spectrum.real, spectrum.imag])[None]
    dilations = [1, 1, 2, 1]
    for layer, dilation in zip(part.layers, dilations, strict=True):
        padding = (layer.weight.shape[2] // 2 * dilation, layer.weight.shape[3] // 2)
        x = nn.functional.conv2d(x, layer.weight, layer.bias, layer.stride, padding, (dilation, 1))
        x = torch.where(x > 0, x, 0.2 * x)
    expected = nn.functional.conv2d(x, part.score.weight, part.score.bias, padding=1)
    torch.testing.assert_close(discriminator(wav).scores[0], expected, atol=1e-5, rtol=1e-4)


def test_channels_are_judged_one_by_one():
    discriminator = STFTDiscriminator(num_filters=2, window_samples=(64,))
    wav = torch.randn(2, 2, 320)
    alone = discriminator(wav[1:, 1:]).scores[0]
    torch.testing.assert_close(discriminator(wav).scores[0][3:], alone, atol=1e-5, rtol=1e-4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_filters must be at least 1, got 0"):
        STFTDiscriminator(num_filters=0)
    with pytest.raises(ValueError, match="window_samples must be multiples of 4, at least 32, got \\(30,\\)"):
        STFTDiscriminator(window_samples=(30,))
    with pytest.raises(
        ValueError, match="wav must be \\(batch, channels, more than 32 samples\\), got shape \\(1, 1, 32\\)"
    ):
        STFTDiscriminator(window_samples=(64,))(torch.zeros(1, 1, 32))
