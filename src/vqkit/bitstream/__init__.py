"""Codes ↔ bytes."""

from vqkit.bitstream.range_coder import decode_codes, encode_codes, prefix_bytes

__all__ = ["decode_codes", "encode_codes", "prefix_bytes"]
