"""Kind of sound files: their suffixes, their model, and how they are coded."""

from collections.abc import Callable, Sequence
from typing import Any

from vqkit import modality as modalities
from vqkit.coding.audio.decode import decode_file
from vqkit.coding.audio.encode import encode_file
from vqkit.coding.audio.lanes import encode_sounds
from vqkit.coding.coded import Coded, Watch
from vqkit.coding.kind import Encoding, Kind
from vqkit.coding.rate import Rate
from vqkit.data import MAX_MEGAPIXELS, WRITTEN_SUFFIXES
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.loading import load_codec
from vqkit.types import need

__all__ = ["SOUND"]


class _Sound(Kind):
    modality = modalities.SOUND
    read, written = modalities.SOUND.suffixes | modalities.VIDEO.suffixes, tuple(WRITTEN_SUFFIXES)

    def load(self, folder: str | None) -> AudioTokenizer:
        for package in ("soundfile", "soxr", "av"):
            need(package, "audio")
        return load_codec(folder)

    def check(self, model: AudioTokenizer, rate: Rate) -> None:
        rate.stages_of(model)

    def encode(self, model: AudioTokenizer, source: Any, target: Any, how: Encoding, watch: Watch) -> Coded:
        return encode_file(
            model,
            source,
            target,
            how.rate,
            strict=how.strict,
            level_rounds=how.level_rounds,
            refine_steps=how.refine_steps,
            watch=watch,
            **how.for_header,
        )

    def encode_together(
        self,
        model: AudioTokenizer,
        sources: Sequence[Any],
        targets: Sequence[Any],
        how: Encoding,
        lanes: int,
        at: Callable[[int], None] = lambda index: None,
    ) -> list[Coded | Exception]:
        return list(encode_sounds(model, sources, targets, lanes, how.rate, at, **how.for_header))

    def decode(
        self,
        model: AudioTokenizer,
        source: Any,
        target: Any,
        suffix: str,
        watch: Watch,
        overwrite: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> Coded:
        return decode_file(model, source, target, suffix=suffix, watch=watch, overwrite=overwrite)


SOUND = _Sound()
