"""Compiled and exported quantizers agree with eager ones."""

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from test_contract import DIM, LAYOUTS, SYSTEMS, build, latents, same, state

from vqkit import VQ

# in evaluation these are what VQ and RVQ are: what differs is how they learn
ALIKE = {
    "VQ-ema-restart", "VQ-cvq-closest", "VQ-cvq-random", "VQ-cvq-probrandom", "VQ-rotation", "VQ-nsvq", "VQ-diveq", "VQ-soft",
}  # fmt: skip
EXPORTED = [name for name in SYSTEMS if name not in ALIKE]
# ONNX takes seconds each: one of every class, and of every mechanism
ONNX = [
    "VQ", "VQ-cosine", "VQ-unit", "FSQ", "FSQ-even", "LFQ", "BSQ", "Residual-interpolated", "Product-shared", "System", "Interpolated",
    "RVQ", "PVQ", "GroupedRVQ", "ResidualFSQ", "ResidualLFQ", "IVQ-yin-yang", "SimVQ", "RandomProjection", "LloydMax", "Normalised",
    "Normalised-each-stage", "Projected", "Rotated", "GainShape", "TurboQuant", "RVQ-beam", "Sum", "Multiscale-VAR", "QINCo", "LooC-2",
]  # fmt: skip
QUICK = ["VQ-cosine", "FSQ-even", "LFQ", "Product", "RVQ", "GroupedRVQ", "ResidualFSQ", "IVQ-bottom-up", "LooC-2"]


class Encode(torch.nn.Module):
    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, z):
        return self.quantizer.encode(z)


class Decode(Encode):
    def forward(self, codes):
        return self.quantizer.decode(codes)


@pytest.mark.parametrize("name", EXPORTED)
def test_torch_export_agrees_with_eager_at_other_sizes(name):
    quantizer, z = build(name), latents()
    codes = quantizer.encode(z)
    shortest = 6 if name.startswith("Multiscale") else 1  # more than one block
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("time", min=shortest, max=4096)},)
    encode = torch.export.export(Encode(quantizer).eval(), (z,), dynamic_shapes=dynamic).module()
    decode = torch.export.export(Decode(quantizer).eval(), (codes,), dynamic_shapes=dynamic).module()
    for value in (z, torch.randn(5, 23, DIM)):
        expected = quantizer.encode(value)
        assert torch.equal(encode(value), expected)
        torch.testing.assert_close(decode(expected), quantizer.decode(expected))


def test_every_class_is_exported():
    assert {type(build(name)) for name in ONNX} == {type(build(name)) for name in SYSTEMS}


@pytest.mark.parametrize("name", ONNX)
def test_onnx_agrees_with_eager(name, tmp_path):
    quantizer, z = build(name), latents()
    codes = quantizer.encode(z)
    for module, value, expected in ((Encode, z, codes), (Decode, codes, quantizer.decode(codes))):
        path = tmp_path / "q.onnx"
        torch.onnx.export(module(quantizer).eval(), (value,), path, dynamo=True, verbose=False, optimize=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {session.get_inputs()[0].name: value.numpy()})
        if module is Encode:
            assert (result == expected.numpy()).mean() > 0.99  # another library's matrix product: near-ties may differ
        else:
            np.testing.assert_allclose(result, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", QUICK)
def test_compile_without_graph_breaks(name, layout):
    torch._dynamo.reset()
    quantizer, z = build(name, layout), latents(layout)
    expected = quantizer(z)
    compiled = torch.compile(quantizer, fullgraph=True, backend="aot_eager")
    out = compiled(z)
    assert (out.codes == expected.codes).float().mean() > 0.99
    same = (out.codes == expected.codes).all(dim=-1)
    torch.testing.assert_close(out.z_q[same], expected.z_q[same])
    assert torch.equal(torch.compile(quantizer.encode, fullgraph=True, backend="aot_eager")(z), expected.codes)


LEARNING = [
    "VQ-ema-restart", "VQ-cvq-closest", "VQ-cvq-random", "VQ-cvq-probrandom", "Product-shared", "RVQ", "IVQ-yin-yang", "LooC-2", "Residual",
]  # fmt: skip


@pytest.mark.parametrize("name", LEARNING)
def test_training_compiles_to_one_graph_from_the_first_step_on_with_the_numbers_of_eager_mode(name):
    """K-means, losses, gradients, moving averages and revival: from a new codebook, three steps."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    eager = SYSTEMS[name](1).train()
    compiled = copy.deepcopy(eager)
    step = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for seed in range(3):
        results = []
        for model, call in ((eager, eager), (compiled, step)):
            z = (latents(batch=6) + seed).requires_grad_()
            torch.manual_seed(seed)
            out = call(z)
            (out.loss + out.z_q.square().sum()).backward()
            results.append((out.codes, z.grad, state(model)))
        (codes_a, grad_a, state_a), (codes_b, grad_b, state_b) = results
        assert torch.equal(codes_a, codes_b)
        torch.testing.assert_close(grad_a, grad_b)
        torch.testing.assert_close(state_a, state_b)
    assert all(value for key, value in state(compiled).items() if key.endswith("initialized"))


def test_a_compiled_step_without_a_real_vector_starts_nothing():
    torch._dynamo.reset()
    q = VQ(DIM, 16).train()
    before = state(q)
    step = torch.compile(q, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        step(latents(), torch.zeros(latents().shape[:-1], dtype=torch.bool))
    assert same(before, state(q))


@pytest.mark.parametrize("name", ["RVQ", "IVQ-yin-yang"])
def test_inductor(name):
    torch._dynamo.reset()
    quantizer, z = build(name), latents()
    expected = quantizer(z)
    out = torch.compile(quantizer, fullgraph=True)(z)
    assert (out.codes == expected.codes).float().mean() > 0.99
