"""What a command reads, and a result must not be written over."""

from pathlib import Path

from vqkit.files import check_not_source

__all__ = ["check_not_in_sources"]


def check_not_in_sources(target: str | Path, *sources: str | Path, own: str | tuple[str, ...] = ()) -> None:
    """See that a file of results would replace nothing that it is made from: a source, or a file in a folder that is one.

    Args:
        target: file to be written.
        sources: files and folders that are read; names of what ships with vqkit are none.
        own: ends of the names of earlier results, which may be replaced.

    Raises:
        ValueError: it would.
    """
    for source in sources:
        check_not_source(target, source)
        written = Path(target).resolve()  # a link is followed when it is written to
        may_go = not written.exists() or written.name.endswith(own)
        if Path(source).is_dir() and not may_go and written.is_relative_to(Path(source).resolve()):
            raise ValueError(f"{target} is a file of the source {source}, which would be lost")
