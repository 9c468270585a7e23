"""Another default dtype of PyTorch changes nothing: neither what a quantizer gives, nor that it keeps its contract."""

import pickle

import pytest
import torch
from test_contract import SYSTEMS, build, latents


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str)
def default(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_quantizer_gives_what_it_gave(name, default):
    torch.set_default_dtype(torch.float32)
    quantizer, z = build(name), latents()
    codes, z_q = quantizer.encode(z), quantizer(z).z_q
    torch.set_default_dtype(default)
    assert torch.equal(quantizer.encode(z), codes)
    decoded = quantizer.decode(codes)
    assert decoded.dtype == torch.float32
    assert torch.equal(decoded, z_q)
    assert torch.equal(quantizer(z).z_q, z_q)
    quantizer.train()(z)


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_that_is_built_so_keeps_its_contract(name, default):
    torch.manual_seed(0)
    quantizer, z = SYSTEMS[name](1), latents(dtype=torch.float32)
    quantizer.train()(z)
    quantizer.eval()
    out = quantizer(z)
    assert torch.equal(out.codes, quantizer.encode(z))
    assert torch.equal(out.z_q, quantizer.decode(out.codes).to(z.dtype))


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_can_be_pickled(name):
    """As ``torch.save(module)`` and processes that are spawned do."""
    quantizer, z = build(name), latents()
    again = pickle.loads(pickle.dumps(quantizer))  # noqa: S301  # of our own
    assert torch.equal(again.encode(z), quantizer.encode(z))
