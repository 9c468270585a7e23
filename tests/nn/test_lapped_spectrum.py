"""The fast transform against the matrix that it stands for, there and back."""

import pytest
import torch

from vqkit.nn import lapped_spectrum
from vqkit.nn.lapped_spectrum import LappedAnalysis, LappedSynthesis
from vqkit.quantize.search import plain_paths


@pytest.fixture(params=[(4, 1), (7, 2), (160, 1), (320, 2)], ids=str)
def pair(request):
    return LappedAnalysis(*request.param), LappedSynthesis(*request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hops", [0.1, 1, 5.3])
def test_the_fast_transform_and_its_gradient_are_those_of_the_matrix(pair, dtype, hops, monkeypatch):
    analysis, synthesis = pair
    torch.manual_seed(0)
    wav = torch.randn(2, analysis.channels, max(1, round(hops * analysis.hop_samples)), dtype=dtype)
    wav.requires_grad_()
    with plain_paths():  # whoever is traced gets the matrix
        spectra = analysis(wav)
        noise = torch.randn_like(spectra, requires_grad=True)  # spectra of no sound, as a network makes them
        back = synthesis(noise)
    there, here = torch.randn_like(spectra), torch.randn_like(back)
    expected = [*torch.autograd.grad(spectra, wav, there), *torch.autograd.grad(back, noise, here)]
    monkeypatch.setattr(lapped_spectrum.functional, "conv1d", lambda *_, **__: pytest.fail("the matrix was taken"))
    monkeypatch.setattr(
        lapped_spectrum.functional, "conv_transpose1d", lambda *_, **__: pytest.fail("the matrix was taken")
    )
    near = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-12}
    fast, fast_back = analysis(wav), synthesis(noise)
    torch.testing.assert_close([fast, fast_back], [spectra, back], **near)
    found = [*torch.autograd.grad(fast, wav, there), *torch.autograd.grad(fast_back, noise, here)]
    torch.testing.assert_close(found, expected, **near)


def test_it_has_the_gradients_of_a_linear_map(pair):
    analysis, synthesis = pair
    wav = torch.randn(1, analysis.channels, 3 * analysis.hop_samples, dtype=torch.float64, requires_grad=True)
    other = torch.randn_like(analysis(wav))
    (found,) = torch.autograd.grad((analysis(wav) * other).sum(), wav)
    # the frames that synthesis adds up are those that analysis cuts: each is the other's transpose, but for the ends
    with torch.no_grad():
        expected = synthesis(other)[..., : wav.shape[-1]]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
