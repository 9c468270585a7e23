"""A codec of vqkit as Codec-SUPERB calls one: a dictionary with a waveform in, units out, and a waveform of the units.

Conventions (facts of that benchmark, as of 2026)
    An item is ``{"id": name, "audio": {"array": (samples,) at any scale of ±1, "sampling_rate": Hz}}``. The benchmark resamples an item to
    ``sampling_rate`` before ``extract_unit`` in its own base class; here any rate is taken. A codec is a class named ``Codec`` without
    arguments in a module of the package ``SoundCodec.codec``; it is asked for units of shape (codes, frames) and decodes
    ``stuff_for_synth``, not the units, so the length of the sound is kept there.

References:
    Wu et al., "Codec-SUPERB: An in-depth analysis of sound codec models" (2024), arXiv:2402.13071.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.evaluate.codecs.coded import checked_mono, fit_length
from vqkit.evaluate.codecs.saved import load_codec
from vqkit.models.audio.compression import codes_of
from vqkit.models.audio.resampling import resample
from vqkit.types import Float, Int

__all__ = ["ExtractedUnit", "ExtractedUnits", "SuperbCodec"]


@dataclass(frozen=True)
class ExtractedUnit:
    """Units of one sound.

    Attributes:
        unit: codes.
        stuff_for_synth: the codes and the number of samples that they stand for.
    """

    unit: Int[Tensor, "codes frames"]
    stuff_for_synth: tuple[Int[Tensor, "codes frames"], int]


@dataclass(frozen=True)
class ExtractedUnits:
    """Units of several sounds, field by field as in `ExtractedUnit`."""

    units: list[Tensor]
    stuff_for_synth: list[tuple[Tensor, int]]
    batch_size: int


class SuperbCodec:
    """A mono codec of vqkit at one rate, with the methods that Codec-SUPERB calls; no base class of the benchmark is needed.

    The codes are those that a file would have: levels are matched in as many rounds as the codec states.

    Args:
        folder: folder of ``save_pretrained``; None for the codec that ships with vqkit.
        kbps: keep as many stages as fit into this rate; all by default.

    Raises:
        ValueError: not a saved codec, not mono, or a rate below the first stage.

    Example:
        >>> codec = SuperbCodec(kbps=3)
        >>> item = {"id": "noise", "audio": {"array": 0.1 * np.random.randn(8000), "sampling_rate": 16000}}
        >>> found = codec.extract_unit(item)
        >>> found.unit.shape, codec.decode_unit(found.stuff_for_synth).shape
        (torch.Size([6, 25]), (1, 8000))
    """

    supports_decode = True

    def __init__(self, folder: str | Path | None = None, kbps: float | None = None) -> None:
        self._codec = load_codec(None if folder is None else Path(folder))
        if self._codec.channels != 1:
            raise ValueError(f"Codec-SUPERB's items are mono, this codec has {self._codec.channels} channels")
        self._stages = self._codec.quantizer.num_stages if kbps is None else self._codec.stages_within(kbps)
        self.kbps = self._codec.bitrate_kbps(self._stages)
        self.sampling_rate = self._codec.sample_rate
        self.setting = f"vqkit_{'shipped' if folder is None else Path(folder).name}_{self.kbps:g}kbps"

    def extract_unit(self, data: Mapping[str, Any]) -> ExtractedUnit:
        """Encode an item.

        Args:
            data: item; its array may be NumPy's, a tensor or a list, (samples,) or (1, samples).

        Raises:
            ValueError: not mono, empty, NaN or Inf, or samples far outside −1 … 1.
        """
        wav = checked_mono(_mono(data["audio"]["array"]))
        wav = resample(wav[None], int(data["audio"]["sampling_rate"]), self.sampling_rate)[0]
        codec = self._codec
        codes = codes_of(codec, wav, self._stages, codec.level_rounds, codec.refine_steps)[0]
        return ExtractedUnit(codes, (codes, wav.shape[-1]))

    def decode_unit(self, stuff_for_synth: tuple[Int[Tensor, "codes frames"], int]) -> Float[np.ndarray, "1 samples"]:
        """Decode what `extract_unit` gave, to as many samples at `sampling_rate` as the item had there."""
        codes, samples = stuff_for_synth
        decoded = self._codec.decode(codes[None], samples)[0]
        return np.asarray(decoded.float().cpu())

    def batch_extract_unit(self, data_list: Sequence[Mapping[str, Any]]) -> ExtractedUnits:
        """Encode several items, one by one: each gets the codes that it gets alone."""
        found = [self.extract_unit(data) for data in data_list]
        return ExtractedUnits([one.unit for one in found], [one.stuff_for_synth for one in found], len(found))

    def batch_decode_unit(self, batch_extracted_unit: ExtractedUnits) -> list[Float[np.ndarray, "1 samples"]]:
        """Decode several."""
        return [self.decode_unit(one) for one in batch_extracted_unit.stuff_for_synth]

    def synth(self, data: dict[str, Any], local_save: bool = False) -> dict[str, Any]:
        """Encode and decode an item.

        Args:
            data: item; it is not changed.
            local_save: the benchmark's wish for a file in its own folder, which is refused.

        Returns:
            The item with the decoded array, of its own sample rate and length, and with ``"unit"``.

        Raises:
            ValueError: local_save, or as in `extract_unit`.
        """
        if local_save:
            raise ValueError("local_save is not supported: write the array that synth(item, local_save=False) returns")
        found = self.extract_unit(data)
        wav, rate = _mono(data["audio"]["array"]), int(data["audio"]["sampling_rate"])
        decoded = torch.from_numpy(self.decode_unit(found.stuff_for_synth))
        back = fit_length(resample(decoded[None], self.sampling_rate, rate)[0], wav.shape[-1])
        return {**data, "audio": {"array": np.asarray(back), "sampling_rate": rate}, "unit": found.unit}

    def batch_synth(self, data_list: Sequence[dict[str, Any]], local_save: bool = False) -> list[dict[str, Any]]:
        """`synth` of several items."""
        return [self.synth(data, local_save) for data in data_list]

    def is_1d(self) -> bool:
        """Whether a frame has one code only."""
        return self._codec.quantizer.stage_ends[self._stages - 1] == 1


def _mono(array: Any) -> Tensor:
    wav = torch.as_tensor(np.asarray(array), dtype=torch.float32)
    return wav[None] if wav.ndim == 1 else wav
