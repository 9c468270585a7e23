"""Codecs behind one call, classical ones and vqkit's own, to be compared at the bytes they really spend.

mono wav ─ System.code ─┬─ Coded.wav: decoded, aligned to the input, of its length
                        └─ Coded.packet_bytes, Coded.file_bytes
"""

from vqkit.evaluate.codecs.codec2 import Codec2
from vqkit.evaluate.codecs.coded import Coded, System
from vqkit.evaluate.codecs.mp3 import MP3
from vqkit.evaluate.codecs.opus import Opus
from vqkit.evaluate.codecs.original import Original
from vqkit.evaluate.codecs.saved import SavedCodec, load_codec, rate_in_use

__all__ = ["MP3", "Codec2", "Coded", "Opus", "Original", "SavedCodec", "System", "load_codec", "rate_in_use"]
