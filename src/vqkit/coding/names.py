"""Names of targets: the source's name with another suffix; where two sources would get one name, both keep their own suffix as well."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

__all__ = ["VQK", "decoded_names", "distinct_names", "encoded_names"]

VQK = ".vqk"
_LOSSLESS = {".wav", ".flac", ".png"}


def encoded_names(path: Path) -> list[str]:
    """Return the names that a ``.vqk`` file of a source may get, the usual one first; no other source gets the last.

    Example:
        >>> encoded_names(Path("in/song.flac"))
        ['song.vqk', 'song.flac.vqk']
        >>> encoded_names(Path("1. A song"))[0]
        '1. A song.vqk'
    """
    ends = path.suffix[1:].isalnum()  # of "1. A song", the song is no suffix
    return [path.with_suffix(VQK).name if ends else path.name + VQK, path.name + VQK]


def decoded_names(path: Path, suffix: str, known: Collection[str], asked: bool) -> list[str]:
    """Return the names that a decoded file may get, the usual one first; no other source gets the last.

    A name that has kept its source's suffix (``song.flac.vqk``) gets no second one; without loss and where no format was asked for, it
    gets its own again.

    Args:
        path: the ``.vqk`` file.
        suffix: suffix of the format that is written, ``.wav`` for example.
        known: suffixes of files with such content, in lower case.
        asked: whether this format was requested.

    Example:
        >>> names = ("a.vqk", "a.flac.vqk", "a.mp3.vqk", "v1.2.vqk")
        >>> [decoded_names(Path(name), ".wav", {".flac", ".mp3"}, asked=False)[0] for name in names]
        ['a.wav', 'a.flac', 'a.wav', 'v1.2.wav']
        >>> decoded_names(Path("a.flac.vqk"), ".wav", {".flac", ".mp3"}, asked=True)
        ['a.wav', 'a.flac.wav', 'a.flac.vqk.wav']
    """
    own = Path(path.name).with_suffix("")
    kept = own.suffix.lower()
    names = [own.name + suffix, path.name + suffix]
    if kept not in known:
        return names
    return [own.name if kept in _LOSSLESS and not asked else own.with_suffix(suffix).name, *names]


def distinct_names(candidates: Mapping[Path, Sequence[str]]) -> dict[Path, Path]:
    """The path that each source gets beside it: the first of its names that no other source takes.

    Who gets the name that it had before it was encoded keeps it; of the others those make way that have the most names left.

    Args:
        candidates: names for each source, the last of which is no other source's.

    Example:
        >>> found = distinct_names({Path(name): encoded_names(Path(name)) for name in ("a/x.wav", "x.wav", "x.png")})
        >>> [path.as_posix() for path in found.values()]
        ['a/x.vqk', 'x.wav.vqk', 'x.png.vqk']
    """
    level = dict.fromkeys(candidates, 0)

    def with_most_left(sources: Sequence[Path]) -> list[Path]:
        left = [len(candidates[source]) - 1 - level[source] for source in sources]
        return [source for source, names in zip(sources, left, strict=True) if names == max(left) > 0]

    while True:
        taken = {source: source.with_name(names[level[source]]) for source, names in candidates.items()}
        claims: dict[Path, list[Path]] = defaultdict(list)
        for source, name in taken.items():
            claims[name].append(source)
        moving: list[Path] = []
        for name, sources in claims.items():
            if len(sources) > 1:
                moving += with_most_left([s for s in sources if s.name != name.name + VQK]) or with_most_left(sources)
        if not moving:
            return taken
        for source in moving:
            level[source] += 1
