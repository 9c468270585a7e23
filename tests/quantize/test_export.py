"""Compiled and exported quantizers agree with eager ones."""

import copy
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from test_contract import DIM, LAYOUTS, SYSTEMS, build, latents, same, state

from vqkit import VQ, Quantizer

# in evaluation these are what VQ, RVQ and so on are: what differs is how they learn, and the numbers of a table
ALIKE = {
    "VQ-1", "VQ-ema-restart", "VQ-cvq-closest", "VQ-cvq-random", "VQ-cvq-probrandom", "VQ-rotation", "VQ-nsvq", "VQ-diveq", "VQ-soft",
    "IVQ-4", "IVQ-12", "Normalised", "Normalised-through", "Rotated", "Rotated-balanced", "RVQ-shared", "Sum-same-dim", "LooC",
    # and combinators around other parts, with no code of their own that the list below does not have
    "GroupedRVQ", "ResidualFSQ", "Interpolated", "System", "Normalised-interpolated",
}  # fmt: skip
# One graph holds many quantizers, since an export takes seconds before it sees the first; ONNX takes every implementation and mechanism.
ONNX = [
    ["VQ", "VQ-cosine", "VQ-unit", "FSQ-even", "LFQ", "BSQ", "SimVQ", "RandomProjection"],
    ["RVQ", "PVQ", "Product-shared", "TurboQuant", "GainShape", "Normalised-each-stage", "Sum", "Projected"],
    ["IVQ-yin-yang", "RVQ-beam", "LooC-2", "QINCo"],
    ["Residual-interpolated", "Multiscale-SNAC"],
    ["Bands", "Stepped", "BlockTruncation"],
]  # fmt: skip
EXPORTED = [
    ["FSQ", "FSQ-bare", "FSQ-clamp", "FSQ-sigmoid", "LFQ-bare", "LloydMax", "Product", "ResidualFSQ-each"],
    ["Residual", "ResidualLFQ", "IVQ-bottom-up", "IVQ-top-down", "LooC-folded"],
    ["QINCo-beam", "Multiscale-VAR", "Multiscale-chain"],
]
LISTED = {*ALIKE, *(name for group in [*ONNX, *EXPORTED] for name in group)}
OTHERS = [[name for name in SYSTEMS if name not in LISTED]]  # a new quantizer has to be listed nowhere to be exported
QUICK = ["VQ-cosine", "FSQ-even", "LFQ", "Product", "RVQ", "GroupedRVQ", "ResidualFSQ", "IVQ-bottom-up"]


class Coded(torch.nn.Module):
    """Codes of each quantizer and what they decode to, in one graph."""

    def __init__(self, names):
        super().__init__()
        self.quantizers = torch.nn.ModuleList(build(name) for name in names)

    def forward(self, z):
        codes = [quantizer.encode(z) for quantizer in self.quantizers]
        return *codes, *(quantizer.decode(code) for quantizer, code in zip(self.quantizers, codes, strict=True))


def exported(names: list[str]) -> tuple[Coded, torch.export.ExportedProgram]:
    shortest = 6 if any(name.startswith("Multiscale") for name in names) else 1  # more than one block
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("time", min=shortest, max=4096)},)
    model = Coded(names).eval()
    return model, torch.export.export(model, (latents(),), dynamic_shapes=dynamic)


def assert_exported(names: list[str], model: Coded, program: torch.export.ExportedProgram) -> None:
    graph = program.module()
    for z in (latents(), torch.randn(5, 23, DIM)):
        for name, found, expected in zip([*names, *names], graph(z), model(z), strict=True):
            assert found.dtype == expected.dtype, name
            if found.dtype == torch.int64:
                assert torch.equal(found, expected), name
            else:
                torch.testing.assert_close(found, expected, msg=lambda text, name=name: f"{name}: {text}")


def implementations(names: Iterable[str]) -> set:
    """The functions that encode and decode in these quantizers, combinators and what they hold."""
    parts = [part for name in names for part in build(name).modules() if isinstance(part, Quantizer)]
    return {getattr(type(part), method) for part in parts for method in ("_encode", "_decode")}


def test_every_implementation_is_exported():
    onnx = [name for group in ONNX for name in group]
    assert implementations(onnx) == implementations(SYSTEMS)


@pytest.mark.parametrize("names", [names for names in EXPORTED + OTHERS if names], ids=" ".join)
def test_torch_export_agrees_with_eager_at_other_sizes(names):
    assert_exported(names, *exported(names))


def assert_onnx(
    names: list[str], model: Coded, program: torch.export.ExportedProgram, folder: Path, sizes: list
) -> None:
    torch.onnx.export(program, (), folder / "q.onnx", dynamo=True, verbose=False, optimize=False)
    session = onnxruntime.InferenceSession(folder / "q.onnx", providers=["CPUExecutionProvider"])
    for z in sizes:
        results = session.run(None, {session.get_inputs()[0].name: z.numpy()})
        codes, decoded = results[: len(names)], results[len(names) :]
        for name, quantizer, found, values in zip(names, model.quantizers, codes, decoded, strict=True):
            # another library's matrix product: near-ties may differ
            assert (found == quantizer.encode(z).numpy()).mean() > 0.99, name
            expected = quantizer.decode(torch.from_numpy(found)).numpy()
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("names", ONNX, ids=" ".join)
def test_torch_export_and_onnx_agree_with_eager_at_other_sizes(names, tmp_path):
    model, program = exported(names)
    assert_exported(names, model, program)
    assert_onnx(names, model, program, tmp_path, [latents(), torch.randn(5, 23, DIM)])


def test_onnx_of_a_grid_with_cubic_upsampling_and_smoothing(tmp_path):
    """At one size: with sizes that are symbols its hundreds of nodes take half a minute."""
    model = Coded(["Multiscale-VAR"]).eval()
    assert_onnx(["Multiscale-VAR"], model, torch.export.export(model, (latents(),)), tmp_path, [latents()])


# what breaks a graph has nothing to do with the layout, but where a quantizer looks at neighbours
@pytest.mark.parametrize(
    ("name", "layout"), [*((name, "sequence") for name in QUICK), *(("LooC-2", layout) for layout in LAYOUTS)]
)
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


def test_inductor():
    torch._dynamo.reset()
    model, z = Coded(["RVQ", "IVQ-yin-yang"]).eval(), latents()
    found = torch.compile(model, fullgraph=True)(z)
    for quantizer, codes, decoded in zip(model.quantizers, found[:2], found[2:], strict=True):
        assert (codes == quantizer.encode(z)).float().mean() > 0.99
        torch.testing.assert_close(decoded, quantizer.decode(codes))
