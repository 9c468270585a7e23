"""Kind of image files: their suffixes, their model, and how they are coded."""

from collections.abc import Callable, Sequence
from typing import Any

from vqkit import modality as modalities
from vqkit.coding.coded import Coded, Watch
from vqkit.coding.image.choice import better_tokenizer
from vqkit.coding.image.decode import decode_image_file
from vqkit.coding.image.encode import encode_prepared, prepared_image
from vqkit.coding.image.lanes import encode_images
from vqkit.coding.kind import Encoding, Kind
from vqkit.coding.rate import Rate
from vqkit.data import MAX_MEGAPIXELS, WRITTEN_IMAGE_SUFFIXES
from vqkit.models.image.tokenizer import SHIPPED, ImageTokenizer
from vqkit.types import need

__all__ = ["IMAGE"]


class _Image(Kind):
    modality = modalities.IMAGE
    read, written = modalities.IMAGE.suffixes, tuple(WRITTEN_IMAGE_SUFFIXES)
    token_model = "vqkit-image"  # 16 codes a cell, coarse to fine; the one that makes the smaller files has 136

    def load(self, folder: str | None) -> ImageTokenizer:
        need("PIL", "image")
        if folder is None and not SHIPPED.is_dir():
            raise ValueError("no image tokenizer ships with this vqkit: name the folder of one with --model")
        return ImageTokenizer.from_pretrained(folder)

    def check(self, model: ImageTokenizer, rate: Rate) -> None:
        rate.check_choice(model.quantizer)
        rate.check_stages(model.quantizer.num_stages, "tokenizer")

    def encode(self, model: ImageTokenizer, source: Any, target: Any, how: Encoding, watch: Watch) -> Coded:
        image = prepared_image(model, source, how.max_megapixels)
        if how.choose:
            model = better_tokenizer(model, image, how.rate, plain=how.plain)
        return encode_prepared(model, image, target, how.rate, watch=watch, **how.for_header)

    def encode_together(
        self,
        model: ImageTokenizer,
        sources: Sequence[Any],
        targets: Sequence[Any],
        how: Encoding,
        lanes: int,
        at: Callable[[int], None] = lambda index: None,
    ) -> list[Coded | Exception]:
        options = {"max_megapixels": how.max_megapixels, **how.for_header}
        return list(encode_images(model, sources, targets, lanes, how.rate, at=at, **options))

    def decode(
        self,
        model: ImageTokenizer,
        source: Any,
        target: Any,
        suffix: str,
        watch: Watch,
        overwrite: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> Coded:
        return decode_image_file(
            model, source, target, suffix=suffix, max_megapixels=max_megapixels, watch=watch, overwrite=overwrite
        )


IMAGE = _Image()
