"""Codes ↔ bytes, for any modality: a range coder, and the ``.vqk`` file, whose bytes docs/vqk.md describes.

`VqkWriter` and `VqkReader` write and read files; `thin`, `cut` and `join` rearrange them without decoding, `inspect` describes them.
`StaticTables`, `fit_contexts` and `network_fit.fit_network` make files smaller than plain bits. All
errors of unreadable files are `BitstreamError`.
"""

from vqkit.bitstream.context_fit import fit_contexts
from vqkit.bitstream.context_model import ContextModel
from vqkit.bitstream.editing import cut, join, thin
from vqkit.bitstream.entropy_model import EntropyModel, read_tables
from vqkit.bitstream.errors import BitstreamError, OtherModelError
from vqkit.bitstream.fitting import size_limit, thin_to_fit
from vqkit.bitstream.foreign_tokens import TokenRate, token_frames, token_rates
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.inspection import inspect
from vqkit.bitstream.network_model import NetworkModel
from vqkit.bitstream.plain_codes import PlainCodes
from vqkit.bitstream.range_coder import decode_codes, encode_codes, prefix_bytes
from vqkit.bitstream.reader import VqkBlock, VqkReader
from vqkit.bitstream.scanner import Damage
from vqkit.bitstream.static_tables import StaticTables
from vqkit.bitstream.writer import VqkWriter

__all__ = [
    "BitstreamError",
    "ContextModel",
    "Damage",
    "EntropyModel",
    "NetworkModel",
    "OtherModelError",
    "PlainCodes",
    "StaticTables",
    "TokenRate",
    "VqkBlock",
    "VqkHeader",
    "VqkReader",
    "VqkWriter",
    "cut",
    "decode_codes",
    "encode_codes",
    "fit_contexts",
    "inspect",
    "join",
    "prefix_bytes",
    "read_tables",
    "size_limit",
    "thin",
    "thin_to_fit",
    "token_frames",
    "token_rates",
]
