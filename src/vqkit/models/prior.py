"""The prior of a model: how likely its codes are, fitted to some signals, and what it saves on others.

Three are fitted: one table a code (`StaticTables`); a small model of the code before it in its frame or cell, the same code a frame before
and, in images, the code of the cell above (`vqkit.bitstream.fit_contexts`); and a network in whole numbers that looks further
(`vqkit.bitstream.network_fit`). All are causal over stages, so a prior also codes the first stages alone, and files can be thinned.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from vqkit.bitstream import ContextModel, EntropyModel, NetworkModel, StaticTables, VqkWriter, fit_contexts, inspect
from vqkit.bitstream.entropy_model import usual_chunk
from vqkit.models.tokenizer import Tokenizer
from vqkit.models.vqk_files import CodedSignal
from vqkit.quantize import Quantizer
from vqkit.types import Float

__all__ = ["CodingCost", "code_vectors", "codes_of", "coding_cost", "fit_prior"]

_GOLDEN = 0.6180339887  # of a circle: turns of it spread evenly, however many there are
_MOST_VECTORS = 1 << 18  # codes in all whose vectors are decoded


@dataclass(frozen=True)
class CodingCost:
    """Rate of one coding, measured on some signals.

    Attributes:
        coding: ``"plain"``, ``"static"``, ``"context"`` or ``"network"``.
        bits_per_code: bits per code, mean over all of them.
        codes_rate: rate of the codes, in the unit of the modality.
        files_rate: rate of the whole files, one a signal.
        tables_bytes: size of the prior, which belongs to the model.
    """

    coding: str
    bits_per_code: float
    codes_rate: float
    files_rate: float
    tables_bytes: int


@torch.no_grad()
def codes_of(model: Tokenizer, signals: Iterable[Float[Tensor, "channels *size"]]) -> list[CodedSignal]:
    """The codes of clips at the codec's rate, or of images of any sizes, one at a time.

    Where the quantizer has steps (`rate_weights`), signals take them in turn, in a scattered order: a prior is for all of them.
    """
    weights = model.quantizer.rate_weights
    if not weights:
        return [model.coded(signal) for signal in signals]
    places = (round(number * _GOLDEN * len(weights)) % len(weights) for number in count())
    return [model.coded(signal, rate_weight=weights[place]) for signal, place in zip(signals, places, strict=False)]  # type: ignore[call-arg]


def fit_prior(
    model: Tokenizer,
    signals: Sequence[CodedSignal],
    coding: str = "context",
    classes: int = 32,
    *,
    steps: int = 600,
    watch: Callable[[float], None] = lambda share: None,
) -> StaticTables | ContextModel | NetworkModel:
    """Fit a prior to a model's codes; assign it to `Tokenizer.prior` and save the model.

    Args:
        model: the model whose codes they are.
        signals: codes of whole signals, as `codes_of` gives them.
        coding: ``"static"`` for one table a code, ``"context"`` for the model of the codes before, and above, ``"network"`` for a network
            in whole numbers, which takes minutes to train.
        classes: number of classes of each context, 1 … 64.
        steps: training steps of the network.
        watch: called with the share of the network's training that is done.

    Returns:
        The prior.

    Raises:
        ValueError: another coding, no codes, or classes out of range.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import AudioCodec
        >>> codec = AudioCodec(RVQ(dim=12, codebook_size=64, num_quantizers=4), sample_rate=8000, num_filters=4).eval()
        >>> wav = 0.1 * torch.randn(1, 80000)
        >>> codec.prior = fit_prior(codec, codes_of(codec, [wav]))
        >>> len(codec.compress(wav, 8000)) < len(codec.compress(wav, 8000, plain=True))
        True
    """
    sizes, codes = model.quantizer.packed_sizes, [signal.codes for signal in signals]
    if not any(map(len, codes)):
        raise ValueError("there are no codes to fit a prior to")
    if coding == "static":
        return StaticTables.fit(sizes, codes)
    if coding not in ("context", "network"):
        raise ValueError(f"coding must be 'static', 'context' or 'network', got {coding!r}")
    columns = [signal.header.columns for signal in signals]
    chunks = [usual_chunk(signal.header, signal.header.largest_chunk) for signal in signals]
    grid = columns if all(columns) else None
    if coding == "context":
        return fit_contexts(sizes, codes, classes, chunks, columns=grid)
    from vqkit.bitstream.network_fit import fit_network

    vectors = code_vectors(model.quantizer)
    return fit_network(sizes, codes, chunk_frames=chunks, columns=grid, vectors=vectors, steps=steps, watch=watch)


@torch.no_grad()
def code_vectors(quantizer: Quantizer) -> list[Float[Tensor, "code_size dim"]] | None:
    """Compute the vector that each code of each position adds to that of the middle codes, which on a grid is 0.

    It is exact where codes add up: residual and product quantizers.

    Args:
        quantizer: the quantizer.

    Returns:
        A table for each code; None where the alphabets are too large to decode every code.

    Example:
        >>> from vqkit import RVQ
        >>> quantizer = RVQ(dim=6, codebook_size=8, num_quantizers=2)
        >>> first, second = code_vectors(quantizer)
        >>> codes = torch.tensor([[3, 5]])
        >>> torch.allclose(first[3] + second[5], quantizer.decode(codes)[0] - quantizer.decode(0 * codes + 4)[0], atol=1e-6)
        True
    """
    sizes = quantizer.code_sizes
    if sum(sizes) > _MOST_VECTORS:
        return None
    device = next((tensor.device for tensor in quantizer.state_dict().values()), torch.device("cpu"))
    middle = torch.tensor([size // 2 for size in sizes], device=device)
    around = quantizer.decode(middle[None]).float()
    found = []
    for position, size in enumerate(sizes):
        codes = middle.repeat(size, 1)
        codes[:, position] = torch.arange(size, device=device)
        found.append((quantizer.decode(codes).float() - around).cpu())
    return found


def coding_cost(prior: EntropyModel | None, signals: Sequence[CodedSignal]) -> CodingCost:
    """Write signals as files, in memory, and measure them.

    Args:
        prior: the prior; None for plain bits.
        signals: codes of whole signals that the prior was not fitted to.

    Raises:
        ValueError: there are no codes.
    """
    codes = sum(signal.codes.numel() for signal in signals)
    if not codes:
        raise ValueError("there are no codes to measure")
    coded = files = 0
    for signal in signals:
        file = io.BytesIO()
        with VqkWriter(file, signal.header, entropy_model=prior) as writer:
            writer.write(signal.codes)
        found = inspect(io.BytesIO(file.getvalue()))
        coded, files = coded + sum(found["stage_bytes"]), files + found["file_bytes"]
    extent = sum(signal.extent for signal in signals)
    return CodingCost(
        coding="plain" if prior is None else prior.coding,
        bits_per_code=coded * 8 / codes,
        codes_rate=coded * 8 / extent,
        files_rate=files * 8 / extent,
        tables_bytes=0 if prior is None else len(prior.to_bytes()),
    )
