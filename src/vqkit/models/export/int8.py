"""ONNX graphs with wide linear layers in 8 bits: about half as large, and faster on a CPU.

Weights are rounded once, a scale for each output; inputs when the graph runs, a scale for each call. Only products of a constant matrix
whose sides are both wider than the latent are rounded: what meets the latent, its search and the codebooks stay in float32, so a decoder
reads the same codes. A rounded encoder chooses other codes for some frames; any decoder of the model decodes them.

References:
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (2018), arXiv:1712.05877;
    computed by onnxruntime's dynamic quantization.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqkit.files import NewFile
from vqkit.types import need

__all__ = ["to_int8", "wide_products"]


def to_int8(path: str | Path, latent_dim: int) -> Path:
    """Write ``NAME.int8.onnx`` beside ``NAME.onnx``.

    Args:
        path: graph that `export_onnx` wrote; it stays.
        latent_dim: width of the model's latent.

    Returns:
        The path of the new file, which has the metadata of the old one.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        ValueError: the graph has no such layers, as those of codecs that consist of convolutions.
    """
    path = Path(path)
    model = need("onnx", "export").load(path)
    names = wide_products(model, latent_dim)
    if not names:
        raise ValueError(
            f"{path} has no linear layers wider than its latent of {latent_dim}: in int8 it would not be smaller"
        )
    quantization = need("onnxruntime.quantization", "export")
    target = path.with_suffix(".int8.onnx")
    with NewFile(target) as new, _quiet():
        quantization.quantize_dynamic(
            model,
            new.temporary,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=names,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
    return target


def wide_products(model: Any, latent_dim: int) -> list[str]:
    """Names of the nodes that multiply by a constant matrix whose sides are both wider than the latent, outside of a pitch filter.

    A pitch filter is small, and its gains are not to be rounded.

    Args:
        model: an ``onnx.ModelProto``.
        latent_dim: width of the model's latent.
    """
    shapes = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and not _filters(node)]
    return [node.name for node in products if min(shapes.get(node.input[1], (0,))) > latent_dim]


def _filters(node: Any) -> bool:
    """Whether the exporter noted that a node is part of a pitch filter."""
    return any(
        note.key == "pkg.torch.onnx.name_scopes" and "pitch_filter" in note.value for note in node.metadata_props
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises a preprocessing, which PyTorch's exporter has done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
