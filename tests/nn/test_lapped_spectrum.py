"""The fast transform against the matrix that it stands for, there and back."""

import pytest
import torch

from vqkit.nn import lapped_spectrum
from vqkit.nn.lapped_spectrum import LappedAnalysis, LappedSynthesis


@pytest.fixture(params=[(4, 1), (7, 2), (160, 1), (320, 2)], ids=str)
def pair(request):
    return LappedAnalysis(*request.param), LappedSynthesis(*request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hops", [0.1, 1, 5.3])
def test_the_fast_transform_gives_what_the_matrix_gives(pair, dtype, hops, monkeypatch):
    analysis, synthesis = pair
    torch.manual_seed(0)
    wav = torch.randn(2, analysis.channels, max(1, round(hops * analysis.hop_samples)), dtype=dtype)
    with torch.enable_grad():  # whoever may need a gradient gets the matrix
        spectra = analysis(wav)
        noise = torch.randn_like(spectra)  # spectra of no sound, as a network makes them
        back = synthesis(noise)
    monkeypatch.setattr(lapped_spectrum.functional, "conv1d", lambda *_, **__: pytest.fail("the matrix was taken"))
    monkeypatch.setattr(
        lapped_spectrum.functional, "conv_transpose1d", lambda *_, **__: pytest.fail("the matrix was taken")
    )
    near = 1e-5 if dtype == torch.float32 else 1e-12
    with torch.no_grad():
        torch.testing.assert_close(analysis(wav), spectra, rtol=0, atol=near)
        torch.testing.assert_close(synthesis(noise), back, rtol=0, atol=near)


def test_the_matrix_has_the_gradients_of_a_linear_map(pair):
    analysis, synthesis = pair
    wav = torch.randn(1, analysis.channels, 3 * analysis.hop_samples, dtype=torch.float64, requires_grad=True)
    other = torch.randn_like(analysis(wav))
    (found,) = torch.autograd.grad((analysis(wav) * other).sum(), wav)
    # the frames that synthesis adds up are those that analysis cuts: each is the other's transpose, but for the ends
    with torch.no_grad():
        expected = synthesis(other)[..., : wav.shape[-1]]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
