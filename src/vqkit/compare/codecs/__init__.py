"""Codecs behind one call, classical ones and vqkit's own, to be compared at the bytes they really spend.

mono wav ─ System.code ─┬─ Coded.wav: decoded, aligned to the input, of its length
                        └─ Coded.packet_bytes, Coded.file_bytes
"""

from vqkit.compare.codecs.codec2 import Codec2
from vqkit.compare.codecs.coded import Coded, System
from vqkit.compare.codecs.mp3 import MP3
from vqkit.compare.codecs.opus import Opus
from vqkit.compare.codecs.original import Original
from vqkit.compare.codecs.saved import SavedCodec, load_codec

__all__ = ["MP3", "Codec2", "Coded", "Opus", "Original", "SavedCodec", "System", "load_codec"]
