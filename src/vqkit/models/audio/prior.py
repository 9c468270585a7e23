"""The prior of a codec: how likely its codes are, fitted to sound, and what it saves on other sound.

Two are fitted: one table a code (`StaticTables`), and a small model of the same code a frame before and the code before it in its frame
(`vqkit.bitstream.fit_contexts`). Both are causal over stages, so a prior also codes the first stages alone, and files can be thinned.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqkit.bitstream import ContextModel, EntropyModel, StaticTables, VqkWriter, fit_contexts, inspect
from vqkit.models.audio.compression import vqk_header
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.types import Float, Int

__all__ = ["CodingCost", "codes_of", "coding_cost", "fit_prior"]


@dataclass(frozen=True)
class CodingCost:
    """What one coding costs on some clips.

    Attributes:
        coding: ``"plain"``, ``"static"`` or ``"context"``.
        bits_per_code: bits per code, mean over all of them.
        codes_kbps: bitrate of the codes.
        files_kbps: bitrate of the whole files, one a clip.
        tables_bytes: size of the prior, which belongs to the model.
    """

    coding: str
    bits_per_code: float
    codes_kbps: float
    files_kbps: float
    tables_bytes: int


@torch.no_grad()
def codes_of(
    codec: WaveformCodec, clips: Iterable[Float[Tensor, "channels samples"]]
) -> list[Int[Tensor, "frames num_codes"]]:
    """The codes of clips at the codec's rate, one clip at a time."""
    device = next(codec.parameters()).device
    return [codec.encode(clip[None].to(device))[0].T.cpu() for clip in clips]


def fit_prior(
    codec: WaveformCodec, codes: Sequence[Int[Tensor, "frames num_codes"]], coding: str = "context", classes: int = 32
) -> StaticTables | ContextModel:
    """Fit a prior to a codec's codes; assign it to `WaveformCodec.prior` and save the codec.

    Args:
        codec: whose codes they are.
        codes: codes of whole clips, as `codes_of` gives them.
        coding: ``"static"`` for one table a code, ``"context"`` for the model of the codes before.
        classes: number of classes of each context, 1 … 64.

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
    sizes = codec.quantizer.code_sizes
    if coding == "static":
        if not any(map(len, codes)):
            raise ValueError("there are no codes to fit a prior to")
        return StaticTables.fit(sizes, codes)
    if coding == "context":
        return fit_contexts(sizes, codes, classes, max(1, round(codec.frame_rate)))
    raise ValueError(f"coding must be 'static' or 'context', got {coding!r}")


def coding_cost(
    codec: WaveformCodec, prior: EntropyModel | None, codes: Sequence[Int[Tensor, "frames num_codes"]]
) -> CodingCost:
    """Write clips as files, in memory, and measure them.

    Args:
        codec: whose codes they are.
        prior: None for plain bits.
        codes: codes of whole clips that the prior was not fitted to.

    Raises:
        ValueError: there are no codes.
    """
    frames = sum(map(len, codes))
    if not frames:
        raise ValueError("there are no codes to measure")
    coded = files = 0
    header = vqk_header(codec)
    for clip in codes:
        file = io.BytesIO()
        with VqkWriter(file, header, entropy_model=prior) as writer:
            writer.write(clip)
        found = inspect(io.BytesIO(file.getvalue()))
        coded, files = coded + sum(found["stage_bytes"]), files + found["file_bytes"]
    kbit_a_byte = 8 / frames * codec.frame_rate / 1000
    return CodingCost(
        coding="plain" if prior is None else prior.coding,
        bits_per_code=coded * 8 / frames / header.num_codes,
        codes_kbps=coded * kbit_a_byte,
        files_kbps=files * kbit_a_byte,
        tables_bytes=0 if prior is None else len(prior.to_bytes()),
    )
