"""Sound and image files ↔ ``.vqk`` files, one or a folder of them: ``vqkit encode`` and ``vqkit decode``."""

from vqkit.coding.coded import Coded, CodedImage, CodedSound
from vqkit.coding.decode_file import decode_file
from vqkit.coding.decode_image_file import decode_image_file
from vqkit.coding.encode_file import encode_file
from vqkit.coding.encode_image_file import encode_image_file
from vqkit.coding.rate import Rate

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
