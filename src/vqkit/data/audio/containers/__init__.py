"""What the bytes of a sound file say before anything decodes them: where joined files meet, what is promised, missing or foreign."""

from vqkit.data.audio.containers.byte_queue import ByteQueue
from vqkit.data.audio.containers.chain import FileSlice, LinkStream, links_of
from vqkit.data.audio.containers.flac import FlacPositions
from vqkit.data.audio.containers.link import Link, PcmFormat

__all__ = ["ByteQueue", "FileSlice", "FlacPositions", "Link", "LinkStream", "PcmFormat", "links_of"]
