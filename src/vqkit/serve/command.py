"""``vqkit serve``: the page until Ctrl-C."""

import argparse
import ipaddress
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vqkit.models.loading import SHIPPED, load_tokenizer, shipped_folder
from vqkit.models.tokenizer import Tokenizer
from vqkit.serve.server import serving
from vqkit.serve.uploads import Limits

__all__ = ["main"]

_SHIPPED = {"vqkit": SHIPPED.name, "vqkit-image": "vqkit-image"}  # by the names that the page shows


def main(argv: list[str]) -> int:
    """Load the models, serve, and clean up at Ctrl-C or SIGTERM."""
    usual = Limits()
    parser = argparse.ArgumentParser(
        prog="vqkit serve",
        description="A page that encodes and decodes dropped sounds and images; it sends nothing to anyone.",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="PATH",
        help="folder of a saved codec or image tokenizer; may be repeated; by default those that ship",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, help="port to listen on; by default the first free one from 7860 on")
    parser.add_argument(
        "--max-megabytes", type=float, default=usual.max_megabytes, help="largest upload (default: %(default)g)"
    )
    parser.add_argument(
        "--max-seconds", type=float, default=usual.max_seconds, help="longest sound (default: %(default)g)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=usual.max_megapixels,
        help="largest image, in 10^6 pixels (default: %(default)g)",
    )
    parser.add_argument(
        "--job-seconds",
        type=float,
        default=usual.job_seconds,
        help="a job is ended after so long (default: %(default)g)",
    )
    parser.add_argument(
        "--disk-megabytes",
        type=float,
        default=usual.disk_megabytes,
        help="most room for all files of all visitors; the oldest go first (default: %(default)g)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="a further name under which browsers may call this server, behind a tunnel or a proxy; may be repeated",
    )
    asked = parser.parse_args(argv)
    if asked.port is not None and not 1 <= asked.port <= 65535:
        raise ValueError(f"--port is {asked.port}, it must be in 1 … 65535")
    limits = Limits(
        asked.max_megabytes, asked.max_seconds, asked.job_seconds, asked.disk_megabytes, asked.max_megapixels
    )
    models = _models(asked.model)
    signal.signal(signal.SIGTERM, _stop)
    with serving(models, limits, host=asked.host, port=asked.port, allow_hosts=asked.allow_host) as url:
        print(f"{', '.join(models)}: {url} (Ctrl-C ends it)", flush=True)
        if not _is_loopback(asked.host):
            print(f"vqkit: warning: everyone who reaches {asked.host} can use the page", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _models(folders: Sequence[str]) -> dict[str, Tokenizer]:
    """The models by the shortest ends of their paths that tell them apart."""
    if not folders:
        return {name: load_tokenizer(folder) for name, folder in _SHIPPED.items() if shipped_folder(folder)}
    paths = [(shipped_folder(folder) or Path(folder)).resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise ValueError(f"a model is named twice: {', '.join(folders)}")
    found: dict[str, Tokenizer] = {}
    for path, folder in zip(paths, folders, strict=True):
        if not path.is_dir():
            raise ValueError(f"no such folder: {folder}; a model is a folder that save_pretrained wrote")
        parts = 1
        while sum(other.parts[-parts:] == path.parts[-parts:] for other in paths) > 1:
            parts += 1
        found["/".join(path.parts[-parts:])] = load_tokenizer(path)
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt
