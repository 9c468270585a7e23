"""The true bitrate of other people's tokens: codes of any codec, written as ``.vqk`` files and counted.

Papers state the rate of a codec as codes a second times log2 of their alphabets. What a file needs is less where codes are not equally
likely, and more by its headers.

References:
    Layouts: Défossez et al., "EnCodec" (2022), arXiv:2210.13438; Kumar et al., "DAC" (2023), arXiv:2306.06546; Siuzdak et al., "SNAC"
    (2024), arXiv:2410.14411; Défossez et al., "Moshi" (2024), arXiv:2410.00037 (Mimi).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vqkit.bitstream.context_fit import fit_contexts
from vqkit.bitstream.entropy_model import EntropyModel
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.static_tables import StaticTables
from vqkit.bitstream.writer import VqkWriter
from vqkit.types import Int

if TYPE_CHECKING:  # torch is imported where a tensor is made, not before: see `tensors.py`
    from torch import Tensor

__all__ = ["TokenRate", "token_frames", "token_rates"]


@dataclass(frozen=True)
class TokenRate:
    """The rate of token streams in kbit/s.

    Attributes:
        nominal_kbps: codes a second times log2 of their alphabets: what papers state.
        plain_kbps: rate of whole ``.vqk`` files with plain bits.
        static_kbps: rate with one table of probabilities for each code.
        context_kbps: rate with tables that depend on the codes before.
        static_bytes: size of the tables, which belong to the codec and not to a file.
        context_bytes: size of the tables that look at the codes before.
        seconds: duration of what was measured.
    """

    nominal_kbps: float
    plain_kbps: float
    static_kbps: float
    context_kbps: float
    static_bytes: int
    context_bytes: int
    seconds: float


def token_frames(tokens: Tensor | Sequence[Tensor]) -> Int[Tensor, "frames codes"]:
    """Tokens of one sound, as a codec gives them, as frames of codes.

    Args:
        tokens: (…, codes, frames) with leading dimensions of 1, as EnCodec, DAC and Mimi have it; or for codecs of several frame rates a
            list of (…, frames), slow ones first, as SNAC has it. A frame of those is one of the slowest, with all codes that fall into it.

    Raises:
        TypeError: not integers.
        ValueError: more than one sound, or numbers of frames that are no multiples of the slowest.

    Example:
        >>> import torch
        >>> token_frames(torch.arange(6).view(1, 2, 3)).tolist()
        [[0, 3], [1, 4], [2, 5]]
        >>> token_frames([torch.tensor([[1, 2]]), torch.tensor([[3, 4, 5, 6]])]).tolist()
        [[1, 3, 4], [2, 5, 6]]
    """
    import torch

    if isinstance(tokens, torch.Tensor):
        _check_integers(tokens)
        if tokens.ndim < 2 or tokens.shape[:-2].numel() != 1 or not tokens.numel():
            raise ValueError(f"tokens must be of one sound, (…, codes, frames), got shape {tuple(tokens.shape)}")
        return tokens.reshape(tokens.shape[-2:]).T.contiguous()
    rows = [row.reshape(-1) for row in tokens]
    for row, given in zip(rows, tokens, strict=True):
        _check_integers(row)
        if given.shape[:-1].numel() != 1:
            raise ValueError(f"tokens of each rate must be of one sound, (…, frames), got shape {tuple(given.shape)}")
    lengths = [len(row) for row in rows]
    if not rows or not lengths[0] or any(length % lengths[0] for length in lengths):
        raise ValueError(f"numbers of frames must be multiples of the first one's, got {lengths}")
    return torch.cat([row.view(lengths[0], -1) for row in rows], dim=1)


def token_rates(
    sounds: Sequence[Int[Tensor, "frames codes"]],
    code_sizes: Sequence[int],
    *,
    sample_rate: int,
    hop_samples: int,
    fit_to: Sequence[Int[Tensor, "frames codes"]],
    classes: int = 32,
) -> TokenRate:
    """Write the tokens of sounds as files in memory, and count the bytes.

    Args:
        sounds: sounds from `token_frames`; the files to be measured, headers included.
        code_sizes: alphabet of each code of a frame.
        sample_rate: sample rate of the codec, in Hz.
        hop_samples: samples a frame, of the slowest frame rate.
        fit_to: other sounds, to which the tables are fitted.
        classes: number of classes of each context.

    Raises:
        TypeError: not integers.
        ValueError: no frames, another number of codes, or a code out of range.

    Example:
        >>> import torch
        >>> codes = [torch.randint(0, 1024, (750, 2)) for _ in range(2)]
        >>> rate = token_rates(codes[:1], (1024, 1024), sample_rate=24000, hop_samples=320, fit_to=codes[1:], classes=2)
        >>> rate.nominal_kbps, rate.plain_kbps > 1.5, rate.seconds  # nobody can compress random codes
        (1.5, True, 10.0)
    """
    header = VqkHeader(code_sizes=tuple(code_sizes), sample_rate=sample_rate, hop_samples=hop_samples, channels=1)
    for codes in [*sounds, *fit_to]:
        _check_integers(codes)
        if codes.ndim != 2 or codes.shape[1] != len(code_sizes) or not len(codes):
            raise ValueError(f"sounds must be (frames, {len(code_sizes)} codes), got shape {tuple(codes.shape)}")
    if not sounds or not fit_to:
        raise ValueError("sounds and fit_to need one sound each, at least")
    frames = sum(map(len, sounds))
    seconds = frames * hop_samples / sample_rate
    priors: list[EntropyModel | None] = [
        None,
        StaticTables.fit(header.code_sizes, fit_to),
        fit_contexts(header.code_sizes, fit_to, classes),
    ]
    plain, tables, contexts = (
        sum(_file_bytes(codes, header, prior) for codes in sounds) * 8 / seconds / 1000 for prior in priors
    )
    bits = sum(math.log2(size) for size in code_sizes)
    static, context = (len(prior.to_bytes()) for prior in priors if prior is not None)
    return TokenRate(bits * frames / seconds / 1000, plain, tables, contexts, static, context, seconds)


def _file_bytes(codes: Tensor, header: VqkHeader, prior: EntropyModel | None) -> int:
    file = io.BytesIO()
    with VqkWriter(file, header, entropy_model=prior) as writer:
        writer.write(codes)
    return len(file.getvalue())


def _check_integers(codes: Tensor) -> None:
    import torch

    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise TypeError(f"tokens must be integers, got {codes.dtype}")
