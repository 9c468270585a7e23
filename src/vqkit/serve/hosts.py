"""Access control of the page by host and origin: browsers that were sent to it by its own name, from the page itself.

A page on this machine is within reach of every website that its user visits. A browser says in ``Host`` what name it was given, which
uncovers names that somebody points at this machine (DNS rebinding), and in ``Origin``, ``Sec-Fetch-Site`` and ``Referer`` which page asks.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Address", "Hosts"]

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """A host and a port, as they stand in ``Host``.

    Attributes:
        host: Host in lower case; an address of IPv6 without its brackets.
        port: None where none is given.

    Example:
        >>> Address.of("[::1]:7860"), Address.of("LOCALHOST"), Address.of("a b")
        (Address(host='::1', port=7860), Address(host='localhost', port=None), None)
    """

    host: str
    port: int | None

    @classmethod
    def of(cls, authority: str) -> "Address | None":
        """The address that a text spells, None if it is none."""
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return None
        host = found[1].lower().strip("[]")
        try:
            host = str(ipaddress.ip_address(host))
        except ValueError:
            if ":" in host:
                return None
        return cls(host, int(found[2]) if found[2] else None)

    @property
    def numeric(self) -> bool:
        """Whether the host is an IP address and not a name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


class Hosts:
    """The names under which a server may be called, and the question whether a request is one of its own page.

    Args:
        host: The address that it listens on: a name, an address of IP, or ``0.0.0.0`` or ``::`` for all of this machine.
        port: The port that it listens on.
        more: Further names, each with a port (``name:port``) or for every port (``name``).

    Raises:
        ValueError: A further name is none.

    Example:
        >>> hosts = Hosts("127.0.0.1", 7860)
        >>> hosts.refusal("GET", "/", {"host": "localhost:7860"})
        >>> hosts.refusal("GET", "/", {"host": "evil.localhost:7860"})
        "the host 'evil.localhost:7860' is not served here; served are 127.0.0.1:7860, localhost:7860, [::1]:7860"
        >>> hosts.refusal("POST", "/", {"host": "localhost:7860", "origin": "https://evil.example"})
        "requests of 'https://evil.example' are refused: only the page itself may use this server"
    """

    def __init__(self, host: str, port: int, more: Iterable[str] = ()) -> None:
        own = Address.of(f"[{host}]" if ":" in host else host)
        if own is None:
            raise ValueError(f"the host {host!r} is neither a name nor an address")
        self._any_number = own.numeric and ipaddress.ip_address(own.host).is_unspecified
        loopback = self._any_number or own.host == "localhost"
        loopback = loopback or (own.numeric and ipaddress.ip_address(own.host).is_loopback)
        names = ["127.0.0.1", "localhost", "::1"] if loopback else []
        names += [socket.gethostname().lower()] if self._any_number else [own.host]
        self._served = list(dict.fromkeys(Address(name, port) for name in names))
        for text in more:
            named = Address.of(text)
            if named is None:
                raise ValueError(f"--allow-host is {text!r}, it must be a name, perhaps with a port")
            self._served.append(named)

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Say why a request is not one of the page, None if it is.

        Args:
            method: Method of the request.
            path: Path of the request.
            headers: Headers by their names in lower case; one that was given twice joined by ``, ``.
        """
        host = headers.get("host", "")
        if not self._serves(host):
            served = ", ".join(map(_spelt, self._served)) + (", and addresses of IP" if self._any_number else "")
            return f"the host {host[:200]!a} is not served here; served are {served}"
        if "origin" in headers:
            return None if _is_origin(headers["origin"], host) else _foreign(headers["origin"])
        site = headers.get("sec-fetch-site", "same-origin")
        if site in ("same-origin", "none"):  # none: typed by the user
            referer = headers.get("referer")
            own = referer is None or method in ("GET", "HEAD") or _is_origin(_origin_of(referer), host)
            return None if own else _foreign(referer or "")
        opens = (method, path, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
        return (
            None if opens == ("GET", "/", "navigate", "document") else _foreign(f"a {site} page")
        )  # a link to the page

    def _serves(self, host: str) -> bool:
        called = Address.of(host)
        if called is None:
            return False
        port = _DEFAULT_PORTS["http"] if called.port is None else called.port
        if self._any_number and called.numeric:  # nobody can point a number elsewhere
            return True
        return any(called.host == served.host and served.port in (None, port) for served in self._served)


def _is_origin(origin: str, host: str) -> bool:
    scheme, _, authority = origin.partition("://")
    asks, called = Address.of(authority), Address.of(host)
    if asks is None or called is None or scheme not in _DEFAULT_PORTS:
        return False
    usual = _DEFAULT_PORTS[scheme]
    return (asks.host, asks.port or usual) == (called.host, called.port or usual)


def _origin_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"


def _foreign(who: str) -> str:
    return f"requests of {who[:200]!a} are refused: only the page itself may use this server"


def _spelt(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port is None else f"{host}:{address.port}"
