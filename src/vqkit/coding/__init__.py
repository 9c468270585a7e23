"""Sound files ↔ ``.vqk`` files, of any length in constant memory, one or a folder of them: ``vqkit encode`` and ``vqkit decode``."""

from vqkit.coding.coded import Coded
from vqkit.coding.decode_file import decode_file
from vqkit.coding.encode_file import encode_file
from vqkit.coding.rate import Rate

__all__ = ["Coded", "Rate", "decode_file", "encode_file"]
