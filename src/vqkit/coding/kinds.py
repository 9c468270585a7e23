"""Detection of a file's kind, and the loading of the models that code each kind."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

from vqkit import modality as modalities
from vqkit.bitstream import VqkHeader, VqkReader
from vqkit.coding.audio.kind import SOUND
from vqkit.coding.image.kind import IMAGE
from vqkit.coding.kind import Kind
from vqkit.coding.video.kind import VIDEO
from vqkit.data.content import HEAD_BYTES, content_of, content_of_file
from vqkit.models.loading import saved_modality, shipped_folder

__all__ = [
    "IMAGE",
    "KINDS",
    "SOUND",
    "VIDEO",
    "header_in",
    "header_of_pipe",
    "kind_in",
    "kind_named",
    "kind_of_content",
    "kind_of_file",
    "kind_of_header",
    "open_models",
    "sniffed",
    "wanted_kind",
]


KINDS: tuple[Kind, ...] = (SOUND, IMAGE, VIDEO)


def kind_named(name: str | Path) -> Kind:
    """Return the kind of a file to make, by its suffix; sound where the suffix is unknown."""
    suffix = Path(name).suffix.lower()
    for kind in KINDS:
        if suffix in kind.written or suffix in kind.modality.suffixes:
            return kind
    return SOUND


def kind_of_content(content: str, wanted: Kind | None = None) -> Kind | None:
    """Return the kind as which some content is encoded: a film as its sound, unless video is wanted; None for unknown content.

    Args:
        content: content as `vqkit.data.content` names it.
        wanted: kind to prefer for content that may be coded as several kinds.

    Example:
        >>> kind_of_content("film").name, kind_of_content("film", VIDEO).name, kind_of_content("image", SOUND).name
        ('sound', 'video', 'images')
    """
    if wanted is not None and wanted.modality is modalities.modality_of_content(content):
        return wanted
    what = modalities.encoded_as(content)
    return next((kind for kind in KINDS if kind.modality is what), None)


def wanted_kind(word: str | None) -> Kind | None:
    """Return the kind that ``--as`` names."""
    return next((kind for kind in KINDS if kind.modality.word == word), None)


def kind_of_file(path: str | Path, wanted: Kind | None = None) -> Kind | None:
    """Return the kind of a file to encode, by its first bytes, or by its suffix where they say nothing; None for unknown content.

    Args:
        path: the file.
        wanted: see `kind_of_content`.

    Raises:
        OSError: it cannot be read.
    """
    return kind_of_content(content_of_file(path), wanted)


def kind_of_header(header: VqkHeader) -> Kind:
    """The kind of what a ``.vqk`` file holds."""
    return next(kind for kind in KINDS if kind.modality is header.modality)


def kind_in(path: str | Path) -> Kind:
    """The kind of what a ``.vqk`` file holds.

    Raises:
        BitstreamError: it is none.
    """
    return kind_of_header(header_in(path))


def header_in(path: str | Path) -> VqkHeader:
    """Read the header of a ``.vqk`` file.

    Raises:
        BitstreamError: it is none.
    """
    with VqkReader(path) as reader:
        return reader.header


def sniffed(stream: BinaryIO, wanted: Kind | None = None) -> tuple[Kind, BinaryIO]:
    """Detect the kind of a pipe's content by its first bytes; return it with a stream that still has all bytes.

    Args:
        stream: the pipe.
        wanted: see `kind_of_content`.

    Example:
        >>> kind, stream = sniffed(io.BytesIO(b"GIF89a and more"))
        >>> kind.name, stream.read()
        ('images', b'GIF89a and more')
    """
    start = stream.tell() if stream.seekable() else None
    head = b""
    while len(head) < HEAD_BYTES and (more := stream.read(HEAD_BYTES - len(head))):
        head += more
    kind = kind_of_content(content_of(head), wanted) or SOUND
    if start is not None:
        stream.seek(start)
        return kind, stream
    return kind, io.BufferedReader(_Rejoined(head, stream))


def header_of_pipe(stream: BinaryIO) -> tuple[VqkHeader, BinaryIO]:
    """Read the header of a ``.vqk`` file that comes through a pipe; return it with a stream that still has all bytes.

    Raises:
        BitstreamError: it is none.
    """
    recorded = _Recorded(stream)
    with VqkReader(cast(BinaryIO, recorded)) as reader:
        return reader.header, io.BufferedReader(_Rejoined(recorded.head, stream))


class _Recorded(io.RawIOBase):
    """Stream that keeps what was read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.head = stream, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = _arrived(self._stream, len(buffer))
        self.head += found
        buffer[: len(found)] = found
        return len(found)


def _arrived(stream: BinaryIO, size: int) -> bytes:
    """At most so many bytes: those that have arrived, of a live stream, which may be long in coming."""
    found: bytes = getattr(stream, "read1", stream.read)(size)
    return found


class _Rejoined(io.RawIOBase):
    """Stream of the bytes that were read already, followed by the rest of the stream they came from."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._head[: len(buffer)] or _arrived(self._stream, len(buffer))
        self._head = self._head[len(found) :]
        buffer[: len(found)] = found
        return len(found)


def open_models(kinds: Iterable[Kind], folders: Iterable[str] = (), *, tokens: bool = False) -> dict[Kind, Any]:
    """Load a model for each kind.

    Args:
        kinds: kinds that are to be coded.
        folders: folders of ``save_pretrained``, at most one a kind; for the others the models that ship.
        tokens: whether the codes are what is wanted, and not files.

    Raises:
        ValueError: there is no such folder, it holds no model, or none of these kinds, or two are of one kind.
    """
    named: dict[Kind, str] = {}
    wanted = list(kinds)
    for name in folders:
        folder = str(shipped_folder(name) or name)
        if not Path(folder).is_dir():
            raise ValueError(f"no such folder: {folder}; a model is a folder that save_pretrained wrote")
        held = saved_modality(folder)
        kind = next(kind for kind in KINDS if kind.modality is held)
        if kind not in wanted:
            remedy = "" if held.encoded_by_default else f": --as {held.word} codes films as it"
            raise ValueError(f"{folder} codes {kind.name}, and nothing here is of that kind{remedy}")
        if kind in named:
            raise ValueError(f"{named[kind]} and {folder} are both models of {kind.name}: give one")
        named[kind] = folder
    return {kind: kind.load(named.get(kind) or (kind.token_model if tokens else None)) for kind in wanted}
