"""What the bytes of a sound file say before anything decodes them: where joined files meet, what is promised, missing or foreign."""

from vqkit.data.containers.byte_queue import ByteQueue
from vqkit.data.containers.chain import FileSlice, LinkStream, links_of
from vqkit.data.containers.flac import FlacPositions
from vqkit.data.containers.link import Link, PcmFormat

__all__ = ["ByteQueue", "FileSlice", "FlacPositions", "Link", "LinkStream", "PcmFormat", "links_of"]
