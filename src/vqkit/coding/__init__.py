"""Sound and image files ↔ ``.vqk`` files, one or a folder of them: ``vqkit encode`` and ``vqkit decode``."""

from vqkit.coding.audio.decode import decode_file
from vqkit.coding.audio.encode import encode_file
from vqkit.coding.coded import Coded, CodedImage, CodedSound
from vqkit.coding.image.decode import decode_image_file
from vqkit.coding.image.encode import encode_image_file
from vqkit.coding.rate import Rate
from vqkit.moved import keep_old_names

__all__ = [
    "Coded",
    "CodedImage",
    "CodedSound",
    "Rate",
    "decode_file",
    "decode_image_file",
    "encode_file",
    "encode_image_file",
]

keep_old_names(
    __name__,
    {
        "codec_blocks": "vqkit.coding.audio.blocks",
        "decode_file": "vqkit.coding.audio.decode",
        "encode_file": "vqkit.coding.audio.encode",
        "decode_image_file": "vqkit.coding.image.decode",
        "encode_image_file": "vqkit.coding.image.encode",
    },
)
