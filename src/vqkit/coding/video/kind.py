"""Kind of video files: their suffixes, their model, and how they are coded."""

from typing import Any

from vqkit import modality as modalities
from vqkit.coding.coded import Coded, Watch
from vqkit.coding.kind import Encoding, Kind
from vqkit.coding.rate import Rate
from vqkit.coding.video.decode import decode_video_file
from vqkit.coding.video.encode import encode_video_file
from vqkit.data import MAX_MEGAPIXELS
from vqkit.models.video.tokenizer import VideoTokenizer
from vqkit.types import need

__all__ = ["VIDEO"]


class _Video(Kind):
    modality = modalities.VIDEO
    read, written = modalities.VIDEO.suffixes, (".mp4",)

    def load(self, folder: str | None) -> VideoTokenizer:
        need("av", "audio")
        if folder is None:
            raise ValueError("no tokenizer of video ships with vqkit: name the folder of one with --model")
        return VideoTokenizer.from_pretrained(folder)

    def check(self, model: VideoTokenizer, rate: Rate) -> None:
        rate.check_choice(model.quantizer)
        rate.check_stages(model.quantizer.num_stages, "tokenizer")

    def encode(self, model: VideoTokenizer, source: Any, target: Any, how: Encoding, watch: Watch) -> Coded:
        return encode_video_file(model, source, target, how.rate, max_megapixels=how.max_megapixels, **how.for_header)

    def decode(
        self,
        model: VideoTokenizer,
        source: Any,
        target: Any,
        suffix: str,
        watch: Watch,
        overwrite: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> Coded:
        return decode_video_file(
            model, source, target, suffix=suffix, max_megapixels=max_megapixels, overwrite=overwrite
        )


VIDEO = _Video()
