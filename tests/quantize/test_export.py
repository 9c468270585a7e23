"""Compiled and exported quantizers agree with eager ones."""

import numpy as np
import onnxruntime
import pytest
import torch
from test_contract import DIM, LAYOUTS, SYSTEMS, build, latents

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


@pytest.mark.parametrize("name", SYSTEMS)
def test_torch_export_agrees_with_eager_at_other_sizes(name):
    quantizer, z = build(name), latents()
    codes = quantizer.encode(z)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("time", min=1, max=4096)},)
    encode = torch.export.export(Encode(quantizer).eval(), (z,), dynamic_shapes=dynamic).module()
    decode = torch.export.export(Decode(quantizer).eval(), (codes,), dynamic_shapes=dynamic).module()
    for value in (z, torch.randn(5, 23, DIM)):
        expected = quantizer.encode(value)
        assert torch.equal(encode(value), expected)
        torch.testing.assert_close(decode(expected), quantizer.decode(expected))


@pytest.mark.parametrize("name", SYSTEMS)
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


@pytest.mark.parametrize("name", ["VQ-ema-restart", "VQ-cvq-random", "RVQ", "IVQ-yin-yang", "ResidualFSQ", "LFQ"])
def test_compiled_training_step(name):
    """Losses, gradients, moving averages and revival inside one graph."""
    torch._dynamo.reset()
    eager, compiled = build(name).train(), build(name).train()
    eager.check_training_input = compiled.check_training_input = False
    step = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    results = []
    for model, call in ((eager, eager), (compiled, step)):
        torch.manual_seed(11)
        z = latents().requires_grad_()
        out = call(z)
        (out.loss + out.z_q.square().sum()).backward()
        results.append((out.codes, z.grad, {k: v.clone() for k, v in model.state_dict().items()}))
    (codes_a, grad_a, state_a), (codes_b, grad_b, state_b) = results
    if name != "RVQ":  # its stage dropout draws other numbers under compilation
        assert torch.equal(codes_a, codes_b)
        torch.testing.assert_close(grad_a, grad_b)
        if name not in ("VQ-cvq-random", "VQ-ema-restart"):
            torch.testing.assert_close(state_a, state_b)


@pytest.mark.parametrize("name", ["RVQ", "IVQ-yin-yang"])
def test_inductor(name):
    torch._dynamo.reset()
    quantizer, z = build(name), latents()
    expected = quantizer(z)
    out = torch.compile(quantizer, fullgraph=True)(z)
    assert (out.codes == expected.codes).float().mean() > 0.99
