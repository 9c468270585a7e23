"""``map`` for other people's pipelines: a column of sound or images of ``datasets`` or Ray Data becomes codes."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqkit.bitstream import VqkReader
from vqkit.tokenize.item import Item
from vqkit.tokenize.model_encoder import ModelEncoder

__all__ = ["TokenizeColumn"]


class TokenizeColumn:
    """Takes batches of rows and adds ``codes`` (flat integers) and ``shape``; picklable, models are loaded where it runs.

    ``dataset.map(TokenizeColumn("audio"), batched=True)`` of Hugging Face's ``datasets``;
    ``dataset.map_batches(TokenizeColumn, fn_constructor_args=("audio",), concurrency=2)`` of Ray Data.

    Args:
        column: Holds the bytes of files, paths, ``{"bytes", "path"}``, or decoded sound ``{"array", "sampling_rate"}``.
        kind: ``"sound"`` or ``"images"``.
        model: Folder or name; the one that ships by default.
        kbps: Highest rate of sound, as in `ModelEncoder`.
        bpp: Highest rate of images.
        stages: Keep so many stages.

    Raises:
        ValueError: Another kind.

    Example:
        >>> from vqkit.data import sample_folder
        >>> path = str(sample_folder() / "music/stereo/test/freedoom_countd.flac")
        >>> rows = TokenizeColumn("audio", stages=1)({"audio": [path]})
        >>> rows["shape"]
        [[100, 1]]
    """

    def __init__(
        self,
        column: str,
        *,
        kind: str = "sound",
        model: str | None = None,
        kbps: float | None = None,
        bpp: float | None = None,
        stages: int | None = None,
    ) -> None:
        if kind not in ("sound", "images"):
            raise ValueError(f"kind must be 'sound' or 'images', got {kind!r}")
        self.column = column
        self.encoder = ModelEncoder((kind,), () if model is None else (model,), kbps, bpp, stages, video_sound=True)
        self._loaded: Any = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Columns by name, and codes beside them.

        Raises:
            KeyError: There is no such column.
            ValueError: A row cannot be read; the message names it.
        """
        if self.column not in batch:
            raise KeyError(f"there is no column {self.column!r}; there are {', '.join(batch)}")
        if self._loaded is None:
            self._loaded = self.encoder.load()
        codes, shapes = [], []
        for number, value in enumerate(batch[self.column]):
            try:
                found = self._codes(value)
            except (ValueError, OSError) as error:
                raise ValueError(f"row {number} of column {self.column!r}: {error}") from None
            codes.append(found.reshape(-1).astype(np.int32))
            shapes.append(list(found.shape))
        return {**batch, "codes": codes, "shape": shapes}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}  # models are loaded where it is used

    def _codes(self, value: Any) -> np.ndarray:
        if isinstance(value, Mapping) and value.get("array") is not None:
            return self._of_samples(np.asarray(value["array"], np.float32), int(value["sampling_rate"]))
        if isinstance(value, Mapping):
            value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
        if isinstance(value, bytes | bytearray):
            return self.encoder.encode(self._loaded, Item("row", bytes(value))).codes
        if not isinstance(value, str | Path) or not Path(value).is_file():
            raise ValueError(f"neither bytes nor a file: {value!r:.80}")
        return self.encoder.encode(self._loaded, Item(str(value), Path(value))).codes

    def _of_samples(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Decoded sound, (samples,) or (channels, samples), as `compress` takes it."""
        ((_, model),) = self._loaded.items()
        wav = torch.from_numpy(samples if samples.ndim == 2 else samples[None])
        stages = self.encoder._rate().stages_of(model)
        data = model.compress(
            wav, sample_rate, model.rates_kbps[stages - 1], plain=True, level_rounds=0, refine_steps=0
        )
        found: np.ndarray = VqkReader(io.BytesIO(data)).read().numpy()
        return found
