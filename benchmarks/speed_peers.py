"""Other libraries beside vqkit for `speed.py`: FAISS with the same codebooks, vector-quantize-pytorch in training, and memory of both."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from timing import Call, fill, least
from torch import Tensor

import vqkit

Row = dict[str, Any]
VECTORS = 2048  # of a beam; four times as many of others
# of FAISS: residual codes (stages, codes, dim, beam), and product codes (pieces, codes, dim)
RESIDUAL = [(8, 1024, 128, 1), (8, 1024, 128, 2), (8, 1024, 128, 8), (4, 64, 120, 1), (4, 64, 120, 8), (8, 256, 128, 5)]
PRODUCT = [(4, 64, 120), (8, 256, 128), (16, 256, 128)]


class Work(NamedTuple):
    """What memory is measured of: vectors z of a shape (x, the first batch element in NumPy), and what each library makes and calls."""

    shape: tuple[int, int, int]
    libraries: dict[str, tuple[str, str]]


OWN_RESIDUAL = "fill(vqkit.RVQ(128, 1024, 8, init='uniform'))"
PEER_RESIDUAL = "vector_quantize_pytorch.ResidualVQ(dim=128, codebook_size=1024, num_quantizers=8)"
MEMORY = {
    "VQ 65,536 codes, 4,096 × 32": Work(
        (1, 4096, 32),
        {
            "vqkit": ("vqkit.VQ(32, 65536).eval()", "made(z)"),
            "vector-quantize-pytorch": (
                "vector_quantize_pytorch.VectorQuantize(dim=32, codebook_size=65536).eval()",
                "made(z)",
            ),
        },
    ),
    "RVQ 8×1024, 16,384 × 128": Work(
        (1, 16384, 128),
        {
            "vqkit": (OWN_RESIDUAL, "made.encode(z)"),
            "vector-quantize-pytorch": (f"{PEER_RESIDUAL}.eval()", "made(z)"),
            "FAISS": (f"faiss_residual({OWN_RESIDUAL}, 1)", "made.compute_codes(x)"),
        },
    ),
    "RVQ 8×1024, beam 8, 16,384 × 128": Work(
        (1, 16384, 128),
        {
            "vqkit": (OWN_RESIDUAL.replace("init", "beam=8, init"), "made.encode(z)"),
            "FAISS": (f"faiss_residual({OWN_RESIDUAL}, 8)", "made.compute_codes(x)"),
            "FAISS by tables": (f"faiss_residual({OWN_RESIDUAL}, 8, tables=True)", "made.compute_codes(x)"),
        },
    ),
    "PVQ 8×256, 65,536 × 128": Work(
        (1, 65536, 128),
        {
            "vqkit": ("fill(vqkit.PVQ(128, 256, 8, init='uniform'))", "made.encode(z)"),
            "FAISS": ("faiss_product(fill(vqkit.PVQ(128, 256, 8, init='uniform')))", "made.compute_codes(x)"),
        },
    ),
    "LooC 256×4, 65,536 × 128": Work(
        (1, 65536, 128), {"vqkit": ("fill(vqkit.LooC(128, 256, 4, init='uniform'))", "made.encode(z)")}
    ),
    "training, RVQ 8×1024, 2,400 × 128": Work(
        (8, 300, 128),
        {
            "vqkit": (
                "vqkit.RVQ(128, 1024, 8, update='ema', init='uniform', revive='none').train()",
                "own_step(made, z)",
            ),
            "vector-quantize-pytorch": (f"{PEER_RESIDUAL}.train()", "peer_step(made, z)"),
        },
    ),
}
SCRIPT = """
import re, sys, torch, vqkit
sys.path.insert(0, {folder!r})
from speed_peers import *
from timing import fill
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
        quantizer = fill(vqkit.RVQ(dim, size, stages, beam=beam, init="uniform"))
        peers = {"FAISS": faiss_residual(quantizer, beam)}
        if beam > 1:
            peers["FAISS by tables"] = faiss_residual(quantizer, beam, tables=True)
        name = f"RVQ {stages}×{size}" + (f", beam {beam}" if beam > 1 else "")
        yield name, _beside(quantizer, peers, VECTORS if beam > 1 else 4 * VECTORS, repeats)
    for pieces, size, dim in PRODUCT:
        quantizer = fill(vqkit.PVQ(dim, size, pieces, init="uniform"))
        yield f"PVQ {pieces}×{size}", _beside(quantizer, {"FAISS": faiss_product(quantizer)}, 4 * VECTORS, repeats)


def _beside(quantizer: vqkit.Quantizer, peers: dict[str, Any], vectors: int, repeats: int) -> Row:
    z = torch.randn(1, vectors, quantizer.dim)
    x, codes, first = z[0].numpy(), quantizer.encode(z), next(iter(peers.values()))
    packed = first.compute_codes(x)
    calls: dict[str, Call] = {name: (lambda peer=peer: peer.compute_codes(x)) for name, peer in peers.items()}
    calls["encode"] = lambda: quantizer.encode(z)
    calls["decode"], calls["their decode"] = lambda: quantizer.decode(codes), lambda: first.decode(packed)
    seconds = least(calls, repeats)
    equal = np.abs(first.decode(packed) - quantizer.decode(codes)[0].numpy()).max(axis=1) < 1e-3
    row: Row = {"dim": quantizer.dim, "encode, × faster than FAISS": seconds["FAISS"] / seconds["encode"]}
    if "FAISS by tables" in peers:
        row["than FAISS by tables"] = seconds["FAISS by tables"] / seconds["encode"]
    row["decode, × faster"] = seconds["their decode"] / seconds["decode"]
    row["equal vectors"] = float(equal.mean())
    return row


def own_step(quantizer: vqkit.Quantizer, z: Tensor) -> None:
    """A training step's forward and backward."""
    _step(z, lambda x: (out := quantizer(x)).loss + out.z_q.square().mean())


def peer_step(quantizer: Any, z: Tensor) -> None:
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
        seconds = least({"own": lambda: own_step(own, z), "peer": lambda: peer_step(peer, z)}, repeats)  # noqa: B023
        found[f"RVQ {stages}×{size}"] = seconds["peer"] / seconds["own"]
    return found


def memory(compiled: bool) -> dict[str, Row]:
    """MiB that one call needs at most beyond what was held before it; each in a process of its own, after a call with eight vectors."""
    found: dict[str, Row] = {}
    for name, work in MEMORY.items():
        found[name] = {}
        for library, (made, call) in work.libraries.items():
            imports = "import vector_quantize_pytorch" if "vector_quantize" in made else ""
            script = SCRIPT.format(
                folder=os.path.dirname(__file__), imports=imports, made=made, call=call,
                shape=work.shape, threads=torch.get_num_threads(),
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
                print(f"memory of {library}, {name}: {error.stderr.strip().splitlines()[-1]}")
                continue
            found[name][library] = int(out.stdout) / 1024
    return found
