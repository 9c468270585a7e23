"""Container formats of sound, parsed before decoding: the links of joined files, and what each promises, lacks or has that is foreign."""

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.chain import FileSlice, LinkStream, links_of
from vqkit.data.audio.containers.flac import FlacPositions
from vqkit.data.audio.containers.link import Link, PcmFormat

__all__ = ["ByteQueue", "FileSlice", "FlacPositions", "Link", "LinkStream", "PcmFormat", "links_of"]
