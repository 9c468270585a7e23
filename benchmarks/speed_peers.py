"""Other libraries beside vqkit for `speed.py`: FAISS with the same codebooks, vector-quantize-pytorch in training, and memory of both."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from timing import fill, least
from torch import Tensor

import vqkit

Row = dict[str, Any]
VECTORS = 2048  # of a beam; four times as many of others
# of FAISS: residual codes (stages, codes, dim, beam), and product codes (pieces, codes, dim)
RESIDUAL = [(8, 1024, 128, 1), (8, 1024, 128, 2), (8, 1024, 128, 8), (4, 64, 120, 1), (4, 64, 120, 8), (8, 256, 128, 5)]
PRODUCT = [(4, 64, 120), (8, 256, 128), (16, 256, 128)]
MEMORY: dict[
    str, dict[str, tuple[str, str]]
] = {  # what is made, and what is called: vectors are z, and z[0].numpy() is x
    "VQ 65,536 codes, 4,096 × 32": {
        "vqkit": ("vqkit.VQ(32, 65536).eval()", "made(z)"),
        "vector-quantize-pytorch": (
            "vector_quantize_pytorch.VectorQuantize(dim=32, codebook_size=65536).eval()",
            "made(z)",
        ),
    },
    "RVQ 8×1024, 16,384 × 128": {
        "vqkit": ("filled(vqkit.RVQ(128, 1024, 8, init='uniform'))", "made.encode(z)"),
        "vector-quantize-pytorch": (
            "vector_quantize_pytorch.ResidualVQ(dim=128, codebook_size=1024, num_quantizers=8).eval()",
            "made(z)",
        ),
        "FAISS": ("faiss_residual(filled(vqkit.RVQ(128, 1024, 8, init='uniform')), 1)", "made.compute_codes(x)"),
    },
    "RVQ 8×1024, beam 8, 16,384 × 128": {
        "vqkit": ("filled(vqkit.RVQ(128, 1024, 8, init='uniform', beam=8))", "made.encode(z)"),
        "FAISS": ("faiss_residual(filled(vqkit.RVQ(128, 1024, 8, init='uniform')), 8)", "made.compute_codes(x)"),
        "FAISS, by look-up tables": (
            "faiss_residual(filled(vqkit.RVQ(128, 1024, 8, init='uniform')), 8, True)",
            "made.compute_codes(x)",
        ),
    },
    "PVQ 8×256, 65,536 × 128": {
        "vqkit": ("filled(vqkit.PVQ(128, 256, 8, init='uniform'))", "made.encode(z)"),
        "FAISS": ("faiss_product(filled(vqkit.PVQ(128, 256, 8, init='uniform')))", "made.compute_codes(x)"),
    },
    "LooC 256×4, 65,536 × 128": {"vqkit": ("filled(vqkit.LooC(128, 256, 4, init='uniform'))", "made.encode(z)")},
    "training, RVQ 8×1024, 2,400 × 128": {
        "vqkit": ("vqkit.RVQ(128, 1024, 8, update='ema', init='uniform', revive='none').train()", "ours(made, z)"),
        "vector-quantize-pytorch": (
            "vector_quantize_pytorch.ResidualVQ(dim=128, codebook_size=1024, num_quantizers=8).train()",
            "theirs(made, z)",
        ),
    },
}
SHAPES = {
    "VQ 65,536 codes, 4,096 × 32": (1, 4096, 32), "training, RVQ 8×1024, 2,400 × 128": (8, 300, 128),
    "RVQ 8×1024, 16,384 × 128": (1, 16384, 128), "RVQ 8×1024, beam 8, 16,384 × 128": (1, 16384, 128),
}  # fmt: skip
SCRIPT = """
import re, sys, torch, vqkit
sys.path.insert(0, {folder!r})
from speed_peers import *
from timing import fill as filled
{imports}
torch.set_num_threads({threads})
torch.manual_seed(0)
torch.set_grad_enabled(False)
made = {made}
z = torch.randn{shape}
def call(z):
    x = z[0].numpy()
    {call}
call(z[:, :8])
held = lambda name: int(re.search(name + r":\\s*(\\d+)", open("/proc/self/status").read())[1])
open("/proc/self/clear_refs", "w").write("5")
before = held("VmRSS")
call(z)
print(held("VmHWM") - before)
"""


def faiss_residual(quantizer: vqkit.Quantizer, beam: int, tables: bool = False) -> Any:
    """FAISS's residual quantizer with our codebooks; ``tables`` for its search by tables of products of the codes."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    stages, size = len(quantizer.code_sizes), quantizer.code_sizes[0]
    theirs = faiss.ResidualQuantizer(quantizer.dim, stages, size.bit_length() - 1)
    theirs.max_beam_size = beam
    faiss.copy_array_to_vector(torch.cat(list(quantizer.codebooks)).flatten().numpy(), theirs.codebooks)
    theirs.is_trained = True
    if tables:
        theirs.use_beam_LUT = 1
        theirs.compute_codebook_tables()
    return theirs


def faiss_product(quantizer: vqkit.Quantizer) -> Any:
    """FAISS's product quantizer with our codebooks."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    theirs = faiss.ProductQuantizer(quantizer.dim, len(quantizer.code_sizes), quantizer.code_sizes[0].bit_length() - 1)
    faiss.copy_array_to_vector(torch.cat(list(quantizer.codebooks)).flatten().numpy(), theirs.centroids)
    return theirs


def beside_faiss(repeats: int) -> Iterator[tuple[str, Row]]:
    """Searches and decoding with the same codebooks, and the share of vectors that decode to the same; nothing without faiss."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return
    for stages, size, dim, beam in RESIDUAL:
        ours = fill(vqkit.RVQ(dim, size, stages, beam=beam, init="uniform"))
        theirs = {"FAISS": faiss_residual(ours, beam)}
        if beam > 1:
            theirs["FAISS by tables"] = faiss_residual(ours, beam, tables=True)
        name = f"RVQ {stages}×{size}" + (f", beam {beam}" if beam > 1 else "")
        yield name, _beside(ours, theirs, VECTORS if beam > 1 else 4 * VECTORS, repeats)
    for pieces, size, dim in PRODUCT:
        ours = fill(vqkit.PVQ(dim, size, pieces, init="uniform"))
        yield f"PVQ {pieces}×{size}", _beside(ours, {"FAISS": faiss_product(ours)}, 4 * VECTORS, repeats)


def _beside(ours: vqkit.Quantizer, theirs: dict[str, Any], vectors: int, repeats: int) -> Row:
    z = torch.randn(1, vectors, ours.dim)
    x, codes, first = z[0].numpy(), ours.encode(z), next(iter(theirs.values()))
    packed = first.compute_codes(x)
    calls = {name: (lambda other=other: other.compute_codes(x)) for name, other in theirs.items()}
    calls |= {
        "encode": lambda: ours.encode(z),
        "decode": lambda: ours.decode(codes),
        "their decode": lambda: first.decode(packed),
    }
    seconds = least(calls, repeats)
    equal = np.abs(first.decode(packed) - ours.decode(codes)[0].numpy()).max(axis=1) < 1e-3
    row: Row = {"dim": ours.dim, "encode, × faster than FAISS": seconds["FAISS"] / seconds["encode"]}
    if "FAISS by tables" in theirs:
        row["than FAISS by tables"] = seconds["FAISS by tables"] / seconds["encode"]
    row["decode, × faster"] = seconds["their decode"] / seconds["decode"]
    row["equal vectors"] = float(equal.mean())
    return row


def ours(quantizer: vqkit.Quantizer, z: Tensor) -> None:
    """A training step's forward and backward."""
    _step(z, lambda x: (out := quantizer(x)).loss + out.z_q.square().mean())


def theirs(quantizer: Any, z: Tensor) -> None:
    """The same of vector-quantize-pytorch."""
    _step(z, lambda x: (out := quantizer(x))[2].sum() + out[0].square().mean())


def _step(z: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
    with torch.enable_grad():
        loss(z.detach().requires_grad_()).backward()


def training(repeats: int) -> dict[str, float]:
    """Training steps with EMA, times faster than vector-quantize-pytorch."""
    from vector_quantize_pytorch import ResidualVQ

    found = {}
    for size, stages, dim in ((64, 4, 120), (1024, 8, 128)):
        z = torch.randn(8, 300, dim)
        own = vqkit.RVQ(dim, size, stages, update="ema", init="uniform", revive="none").train()
        peer = ResidualVQ(dim=dim, codebook_size=size, num_quantizers=stages).train()
        seconds = least({"ours": lambda: ours(own, z), "theirs": lambda: theirs(peer, z)}, repeats)  # noqa: B023
        found[f"RVQ {stages}×{size}"] = seconds["theirs"] / seconds["ours"]
    return found


def memory(compiled: bool) -> dict[str, Row]:
    """MiB that one call needs at most beyond what was held before it; each in a process of its own, after a call with eight vectors."""
    found: dict[str, Row] = {}
    for work, systems in MEMORY.items():
        found[work] = {}
        for library, (made, call) in systems.items():
            imports = "import vector_quantize_pytorch" if "vector_quantize" in made else ""
            script = SCRIPT.format(
                folder=os.path.dirname(__file__), imports=imports, made=made, call=call,
                shape=SHAPES.get(work, (1, 65536, 128)), threads=torch.get_num_threads(),
            )  # fmt: skip
            environment = {**os.environ, "VQKIT_NATIVE": "1" if compiled else "0"}
            try:
                out = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", script],
                    capture_output=True,
                    text=True,
                    check=True,
                    env=environment,
                )
            except subprocess.CalledProcessError as error:
                print(f"memory of {library}, {work}: {error.stderr.strip().splitlines()[-1]}")
                continue
            found[work][library] = int(out.stdout) / 1024
    return found
