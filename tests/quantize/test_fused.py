"""The Triton kernel in Triton's interpreter, against the plain twin.

The interpreter must be chosen before triton is first imported, so these tests run in a process of their own. Triton is not among the locked
packages, since it takes 1 GB: without it there is nothing to test.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from vqkit import IVQ, RVQ, VQ, Residual
from vqkit.quantize import fast_stages, fused

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton (pip install triton)")
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in the process that test_in_the_interpreter starts")


@pytest.mark.skipif(INTERPRETED, reason="starts the interpreter")
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    ran = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "10 passed" in ran.stdout


@pytest.fixture
def kernel(monkeypatch):
    """The kernel, interpreted, wherever a tensor lies."""
    monkeypatch.setattr(fast_stages, "takes_fast_paths", lambda _: False)
    monkeypatch.setattr(fast_stages, "takes_fused_search", lambda _: True)


@interpreted
@pytest.mark.parametrize(
    "make",
    [
        lambda: RVQ(24, [64, 16, 9], 3),
        lambda: RVQ(5, 100, 1),
        lambda: IVQ(24),
        lambda: Residual([VQ(128, 70), VQ(128, 130)]),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_codes_are_those_of_the_plain_twin(kernel, make, offset):
    torch.manual_seed(0)
    quantizer = make().eval()
    for table in quantizer.codebooks:
        table.data.normal_().add_(offset)
    residual = getattr(quantizer, "quantizer", quantizer)
    z = torch.randn(2, 35, quantizer.dim) + offset * len(residual.stages)
    assert fast_stages.fused_codes(residual.sequence, z.flatten(end_dim=1)) is not None
    assert (quantizer.encode(z) != residual._encode_plain(z, None)).float().mean() < 0.002


@interpreted
def test_the_first_of_equal_scores_wins(kernel):
    half = torch.randint(-1, 2, (100, 4)).float()
    table = torch.cat([half, -half])  # whole numbers around 0, without any rounding, and many ties, in several tiles
    x = torch.randint(-2, 3, (50, 4)).float()
    expected = (x @ table.T - 0.5 * table.square().sum(dim=1)).argmax(dim=1)
    assert torch.equal(fused.FusedSearch([[table]])(x)[:, 0], expected)


@interpreted
def test_no_vectors(kernel):
    assert fused.FusedSearch([[torch.randn(4, 3)]])(torch.empty(0, 3)).shape == (0, 1)
