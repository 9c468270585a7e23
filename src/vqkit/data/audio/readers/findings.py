"""Findings of the reading of a sound: changes, which are noted, and losses, which are warned of or refused."""

from dataclasses import dataclass

__all__ = ["Findings"]


@dataclass
class _Loss:
    """Losses of one kind, counted.

    Attributes:
        first: time of the first one, in seconds.
        count: number of losses.
        seconds: duration of the silence in their place, in seconds.
    """

    first: float
    count: int = 0
    seconds: float = 0.0


class Findings:
    """Notes and losses of one sound, in the order they were met.

    Args:
        name: name of the file, for messages.
        strict: whether a loss is an error at once.

    Attributes:
        begin_seconds: start of the link that is being read, in seconds; positions count from there.

    Example:
        >>> findings = Findings("a.mp3")
        >>> findings.undecodable(0.5)
        >>> findings.silence(0.5, 0.026, missing=False)
        >>> findings.warnings, findings.missing_seconds
        (('1 packet cannot be decoded, at 0.500 s: silence in its place, 0.026 s',), 0.026)
    """

    def __init__(self, name: str, strict: bool = False) -> None:
        self.name, self.strict = name, strict
        self.begin_seconds = 0.0
        self._notes: dict[str, str] = {}
        self._losses: dict[str, _Loss] = {}
        self._texts: list[str] = []  # of losses that are not counted

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes to the sound that are no loss."""
        return tuple(self._notes.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of what is missing, damaged or doubtful."""
        return (*(_line(kind, loss) for kind, loss in self._losses.items()), *self._texts)

    @property
    def missing_seconds(self) -> float:
        """Duration of the silence in place of what is missing, in seconds."""
        return round(sum(loss.seconds for loss in self._losses.values()), 6)

    def note(self, key: str, text: str) -> None:
        """Note a change; of one key only the first."""
        self._notes.setdefault(key, text)

    def undecodable(self, at: float) -> None:
        """Count a packet that the decoder refused, ``at`` seconds from the link's beginning."""
        self._count("packet", at, 1, 0.0)

    def damaged(self, at: float, count: int = 1) -> None:
        """Count parts that are marked or known to be damaged, and were decoded all the same or left out."""
        self._count("damaged", at, count, 0.0)

    def silence(self, at: float, seconds: float, missing: bool) -> None:
        """Count silence in place of what is missing, or of what the decoder refused, which is counted already."""
        self._count("gap" if missing else "packet", at, int(missing), seconds)

    def short(self, stated: float, there: float, filled: bool, cut: str) -> None:
        """Report a sound that ends earlier than its header states; ``cut`` is the reason."""
        rest = ": the rest is silence" if filled else ", which is not to be believed"
        text = f"{_beginning(cut)}: the header promises {stated:.3f} s, {there:.3f} s could be read{rest}"
        self._losses.setdefault(text, _Loss(there + self.begin_seconds)).seconds += stated - there if filled else 0.0
        self._refuse(text)

    def cut(self, at: float, why: str) -> None:
        """Report a sound that is not whole and whose length is unknown."""
        self.warn(f"cut short after {at + self.begin_seconds:.3f} s: {why}")

    def warn(self, text: str) -> None:
        """Report any other loss or doubt."""
        if text not in self._texts:
            self._texts.append(text)
            self._refuse(text)

    def _count(self, kind: str, at: float, count: int, seconds: float) -> None:
        loss = self._losses.setdefault(kind, _Loss(at + self.begin_seconds))
        loss.count += count
        loss.seconds += seconds
        self._refuse(_line(kind, loss))

    def _refuse(self, text: str) -> None:
        if self.strict:
            raise ValueError(f"{self.name} is damaged: {text}")


def _line(kind: str, loss: _Loss) -> str:
    if kind not in _KINDS:
        return kind
    one, many = _KINDS[kind]
    first = f"at {loss.first:.3f} s" if loss.count == 1 else f"the first at {loss.first:.3f} s"
    text = f"{one if loss.count == 1 else many.format(loss.count)}, {first}"
    its = "its" if loss.count == 1 else "their"
    return f"{text}: silence in {its} place, {loss.seconds:.3f} s" if loss.seconds else text


_KINDS = {
    "packet": ("1 packet cannot be decoded", "{} packets cannot be decoded"),
    "gap": ("something is missing in one place", "something is missing in {} places"),
    "damaged": ("1 part is damaged", "{} parts are damaged"),
}


def _beginning(cut: str) -> str:
    return f"cut short, {cut}" if cut else "cut short or damaged"
