"""The page on a port of this machine, behind its gate, with a private folder for its files that goes when it goes."""

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from vqkit.models.tokenizer import Tokenizer
from vqkit.serve.folder import PrivateFolder, private_folder
from vqkit.serve.fragments import CSS
from vqkit.serve.gate import Gate
from vqkit.serve.hosts import Hosts
from vqkit.serve.uploads import Limits
from vqkit.serve.worker import Worker
from vqkit.types import need

__all__ = ["serving"]

_FOLDER = "GRADIO_TEMP_DIR"
_PORTS = range(7860, 7960)
_MOST_CONNECTIONS = 256
_START_SECONDS, _GOODBYE_SECONDS = 60.0, 3
_SILENT: dict[str, Any] = {  # whatever the environment says
    "ssr_mode": False,
    "mcp_server": False,
    "pwa": False,
    "run_history": False,
    "enable_monitoring": False,
    "footer_links": [],
    "show_error": False,
}


@contextmanager
def serving(
    models: Mapping[str, Tokenizer],
    limits: Limits | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    allow_hosts: Iterable[str] = (),
) -> Iterator[str]:
    """Serve the page until the ``with`` ends; its files are then gone.

    Args:
        models: models of sound and images, by the names that the page shows.
        limits: limits of what a visitor may use; the usual ones by default.
        host: address to listen on.
        port: port to listen on; by default the first free one from 7860 on.
        allow_hosts: further names under which browsers may call the server, with or without a port; see `vqkit.serve.hosts.Hosts`.

    Yields:
        The address of the page.

    Raises:
        OSError: the port is taken, or the host is none of this machine.
        ValueError: there is no model, or a further name is none.
    """
    limits = limits or Limits()
    host = host.removeprefix("[").removesuffix("]")
    with _listening(host, port) as listener, private_folder(limits.disk_bytes) as folder, _uploads_in(folder):
        hosts = Hosts(host, listener.getsockname()[1], allow_hosts)
        from vqkit.serve.page import build_page

        with Worker(dict(models), limits.job_seconds) as worker:
            page = build_page(models, limits, folder, worker)
            with _running(page, listener, hosts, folder, limits):
                yield _url(host, listener.getsockname()[1])


def _url(host: str, port: int) -> str:
    named = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    for tried in _PORTS if port is None else [port]:
        try:
            family, *_, address = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0]
            listener = socket.create_server(address[:2], family=family)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise OSError(f"cannot listen on {host!r}: {error.strerror or error}") from None
        with listener:
            yield listener
        return
    ports = f"{_PORTS[0]} … {_PORTS[-1]}" if port is None else str(port)
    raise OSError(f"port {ports} of {host} is taken; --port names another")


@contextmanager
def _uploads_in(folder: PrivateFolder) -> Iterator[None]:
    """Gradio's only way to say where uploads go."""
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(folder.path)
    try:
        # gradio looked at the environment when it was imported, perhaps before
        vars(need("gradio.routes", "serve"))["DEFAULT_TEMP_DIR"] = str(folder.path)
        yield
    finally:
        if before is None:
            os.environ.pop(_FOLDER, None)
        else:
            os.environ[_FOLDER] = before


@contextmanager
def _running(page: Any, listener: socket.socket, hosts: Hosts, folder: PrivateFolder, limits: Limits) -> Iterator[None]:
    """Gradio's application on a socket, in a thread."""
    gr, fastapi, uvicorn = (need(name, "serve") for name in ("gradio", "fastapi", "uvicorn"))
    mounted = gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        page,
        path="/",
        max_file_size=limits.max_bytes,
        theme=gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        css=CSS,
        **_SILENT,
    )
    page.has_launched = True  # gradio's own check of paths, behind the gate's
    gate = Gate(mounted, hosts, folder, limits, {*page.fns, *(job.api_name for job in page.fns.values())})
    server = uvicorn.Server(
        uvicorn.Config(
            gate,
            log_level="error",
            ws="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_GOODBYE_SECONDS,
        )
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop, server, listener), daemon=True)
    thread.start()
    try:
        _wait_until_started(server, thread)
        yield
    finally:
        page.close(verbose=False)
        within = mounted.routes[-1].app  # gradio's own application
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(within.stop_event.set)  # streams end, and need not be cancelled
        server.should_exit = True
        thread.join()


def _serve(loop: asyncio.AbstractEventLoop, server: Any, listener: socket.socket) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(server.serve(sockets=[listener]))
    finally:
        loop.close()


def _wait_until_started(server: Any, thread: threading.Thread) -> None:
    end = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise OSError("the server does not start")
        time.sleep(0.01)
