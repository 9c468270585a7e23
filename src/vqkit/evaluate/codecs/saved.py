"""A codec of vqkit in a folder, at one of its rates."""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from vqkit.bitstream import inspect
from vqkit.evaluate.codecs.coded import Coded, checked_mono, fit_length
from vqkit.models import loading
from vqkit.models.audio.resampling import resample
from vqkit.models.audio.stage_choice import StageChoice
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.identity import weight_hash
from vqkit.types import Float

__all__ = ["SavedCodec", "load_codec", "rate_in_use"]


@lru_cache(maxsize=2)
def load_codec(folder: Path | None) -> AudioTokenizer:
    """A saved codec, kept in memory for the next call; without a folder the shipped one.

    Raises:
        ValueError: not a saved codec.
    """
    return loading.load_codec(folder, local_files_only=True)


def rate_in_use(codec: AudioTokenizer, kbps: float) -> float:
    """The rate that a codec's files of ``kbps`` use: the same where frames may have a stage more or less, else that of the stages that fit.

    Raises:
        ValueError: kbps is below the first stage.
    """
    chosen = codec.prior is not None and codec.refine_steps and StageChoice.at_rate(codec, kbps)
    return kbps if chosen else codec.bitrate_kbps(codec.stages_within(kbps))


@dataclass(frozen=True)
class SavedCodec:
    """A saved codec, through the ``.vqk`` file that it writes: what is decoded has been bytes.

    Args:
        folder: folder of ``save_pretrained``; None for the codec that ships with vqkit.
        kbps: highest rate before entropy coding, as in `AudioTokenizer.compress`.
        family: what the codec is called in tables and plots.
        refine_steps: steps that refine the codes of its files; None for the codec's own number.
    """

    folder: Path | None
    kbps: float
    family: str = "vqkit"
    refine_steps: int | None = None

    @property
    def name(self) -> str:
        """Name of the system in tables and plots."""
        return f"{self.family} {self.kbps:g} kbps"

    @property
    def settings(self) -> dict[str, Any]:
        """Rate, class, weights and prior."""
        codec = load_codec(self.folder)
        return {
            "kbps": self.kbps,
            "level_rounds": codec.level_rounds,
            "refine_steps": codec.refine_steps if self.refine_steps is None else self.refine_steps,
            "model": type(codec).__name__,
            "parameters": sum(parameter.numel() for parameter in codec.parameters()),
            "sample_rate": codec.sample_rate,
            "weights": weight_hash(codec),
            "prior": codec.prior.tables_hash if codec.prior else None,
        }

    def code(self, wav: Float[Tensor, "1 samples"], sample_rate: int) -> Coded:
        """See `System.code`; also a ValueError for a rate below the first stage, or a codec that is not mono."""
        codec, wav = load_codec(self.folder), checked_mono(wav)
        if codec.channels != 1:
            raise ValueError(
                f"the codec in {self.folder or loading.SHIPPED} has {codec.channels} channels, mono is compared"
            )
        data = codec.compress(wav, sample_rate, self.kbps, refine_steps=self.refine_steps)
        decoded, rate = codec.decompress(data)
        back = resample(decoded[None], rate, sample_rate)[0]
        found = inspect(io.BytesIO(data))
        packet_bytes = sum(found["stage_bytes"]) + found["count_bytes"]
        return Coded(fit_length(back, wav.shape[1]), packet_bytes, len(data), data)
