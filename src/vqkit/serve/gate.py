"""Gate between the network and gradio: it lets through only the page's own requests, to the few routes that it uses, in their form.

    request ─ host, origin ─ route ─ body: size, only files that were uploaded ─ gradio ─ no paths of this machine ─ answer

Gradio can do much that this page has no use for: fetch addresses that a client names, forward to other servers, serve files, run jobs
beside its queue. Whatever is not named in this file is not there.
"""

import asyncio
import json
import re
from collections.abc import Collection
from contextlib import ExitStack, suppress
from mimetypes import guess_type
from typing import Any
from urllib.parse import parse_qsl, urlencode

from vqkit.serve.folder import PUBLIC, FolderFull, PrivateFolder
from vqkit.serve.hosts import Hosts
from vqkit.serve.order import WORD, RefusedError, rebuilt_order
from vqkit.serve.uploads import Limits
from vqkit.types import need

__all__ = ["Gate"]

_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
_API = "/gradio_api"
_FILES, _UPLOAD, _JOIN = f"{_API}/file=", f"{_API}/upload", f"{_API}/queue/join"
_CALL = re.compile(rf"{_API}/call/(\w{{1,32}})", re.ASCII)
_STATIC = re.compile(r"/(assets|static)/.+|/(favicon\.ico|theme\.css|manifest\.json|robots\.txt)")
_GET = re.compile(
    r"/|/config|/gradio_api/(info|theme\.css|queue/data|upload_progress|heartbeat/[\w-]{1,128}|call/\w{1,32}/[\w-]{1,128})",
    re.ASCII,
)
_QUERIES = ("session_hash", "upload_id")
_FORWARDED = (
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-gradio-server",
)
_SLACK_BYTES = 16384  # of a multipart form around its file
_MOST_JSON_BYTES = 65536
_UPLOAD_SECONDS, _DRAIN_SECONDS = 600.0, 10.0


class Gate:
    """An ASGI application around gradio's; see the module.

    Args:
        app: Gradio's.
        hosts: The names of the server.
        folder: Folder for uploads and results.
        limits: Limits of uploads.
        jobs: Names and numbers of what the page can run.
    """

    def __init__(
        self, app: Any, hosts: Hosts, folder: PrivateFolder, limits: Limits, jobs: Collection[str | int]
    ) -> None:
        self._app, self._hosts, self._folder, self._limits, self._jobs = app, hosts, folder, limits, jobs
        self._responses: Any = need("starlette.responses", "serve")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no websocket
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", []) if not _is_ours(name)]
                message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in _HEADERS.items())]
            await send(message)

        try:
            await self._pass(scope, receive, guarded)
        except RefusedError as refused:
            answer = self._responses.PlainTextResponse(f"{refused}\n", refused.status)
            await answer(scope, receive, guarded)

    async def _pass(self, scope: Any, receive: Any, send: Any) -> None:
        headers = _headers(scope)
        method, path = scope["method"], scope["path"]
        if (line := self._hosts.refusal(method, path, headers)) is not None:
            raise RefusedError(403, line)
        if method not in ("GET", "HEAD", "POST"):
            raise RefusedError(405, f"{method} is not allowed; allowed are GET, HEAD and POST")
        published = self._published(send)
        if path == _UPLOAD and method == "POST":
            await self._upload(scope, receive, published, _length(headers))
        elif path == _JOIN and method == "POST":
            order = rebuilt_order(await _body(receive, _length(headers)), self._folder, self._jobs)
            await self._app(_plain(scope), _Replay(order, receive), published)
        elif (call := _CALL.fullmatch(path)) and method == "POST":
            if call[1] not in self._jobs:
                raise _missing(path)
            order = rebuilt_order(await _body(receive, _length(headers)), self._folder)
            await self._app(_plain(scope), _Replay(order, receive), published)
        elif method == "POST":
            raise _missing(path)
        elif path.startswith(_FILES):
            await self._file(path.removeprefix(_FILES))(scope, receive, send)
        elif _STATIC.fullmatch(path):
            await self._app(_without(scope, *_FORWARDED), receive, send)
        elif _GET.fullmatch(path):
            await self._answer(_plain(scope), receive, published)
        else:
            raise _missing(path)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Gradio's answer; a stream of a session that it does not know ends quietly."""
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:  # gradio raises 404 when it has begun to answer
            if getattr(error.__cause__, "status_code", None) != 404:
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _upload(self, scope: Any, receive: Any, send: Any, length: int) -> None:
        """Let a file in, if there is room for it."""
        most = self._limits.max_bytes + _SLACK_BYTES
        try:
            if length > most:
                raise RefusedError(
                    413, f"{length} bytes were sent; at most {self._limits.max_megabytes:g} MB are taken here"
                )
            with ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, self._folder.room(length))
                async with asyncio.timeout(_UPLOAD_SECONDS):
                    await self._app(_plain(scope), receive, send)
        except FolderFull as full:
            await _drain(receive, most)
            raise RefusedError(507, str(full)) from None
        except TimeoutError:
            raise RefusedError(408, f"the upload took more than {_UPLOAD_SECONDS:g} s") from None
        except RefusedError:
            await _drain(receive, most)
            raise

    def _file(self, name: str) -> Any:
        found = self._folder.file(name)
        if found is None:
            raise RefusedError(404, f"there is no such file; names begin with {PUBLIC}/")
        kind = guess_type(found.name)[0] or ""
        inline = kind.startswith("audio/")
        return self._responses.FileResponse(
            found,
            media_type=kind if inline else "application/octet-stream",
            filename=found.name,
            content_disposition_type="inline" if inline else "attachment",
        )

    def _published(self, send: Any) -> Any:
        async def published(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    (name, value) for name, value in message.get("headers", []) if name.lower() != b"content-length"
                ]
                message = {**message, "headers": kept}
            elif message["type"] == "http.response.body":
                message = {**message, "body": self._folder.published(message.get("body", b""))}
            await send(message)

        return published


class _Replay:
    """A body in the place of the one that was read; then what else comes."""

    def __init__(self, data: Any, receive: Any) -> None:
        self._body: bytes | None = json.dumps(data).encode()
        self._receive = receive

    async def __call__(self) -> Any:
        body, self._body = self._body, None
        return await self._receive() if body is None else {"type": "http.request", "body": body, "more_body": False}


def _headers(scope: Any) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _without(scope: Any, *names: str) -> dict[str, Any]:
    kept = [(name, value) for name, value in scope["headers"] if name.decode("latin-1").lower() not in names]
    return {**scope, "headers": kept}


def _plain(scope: Any) -> dict[str, Any]:
    """The request without what could change the form of its answer, its body's length, or what the page has no use for."""
    words = [
        (key, value)
        for key, value in parse_qsl(scope["query_string"].decode("latin-1"))
        if key in _QUERIES and WORD.fullmatch(value)
    ]
    return {
        **_without(scope, "accept-encoding", "content-length", *_FORWARDED),
        "query_string": urlencode(words).encode(),
    }


def _is_ours(name: bytes) -> bool:
    """Return whether a header of a response is one that only this gate may set."""
    lower = name.decode("latin-1").lower()
    return lower in _HEADERS or lower.startswith("access-control-")


def _length(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not re.fullmatch("[0-9]{1,15}", length):  # chunks would count, not the length
        raise RefusedError(411, "the length of what is sent must be stated")
    return int(length)


async def _body(receive: Any, length: int) -> Any:
    if length > _MOST_JSON_BYTES:
        raise RefusedError(413, f"{length} bytes were sent; at most {_MOST_JSON_BYTES} are taken here")
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(400, "the request is cut short")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise RefusedError(400, "the request is not JSON") from None


async def _drain(receive: Any, most: int) -> None:
    """Take what a client still sends: it would not read the answer before."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


def _missing(path: str) -> RefusedError:
    return RefusedError(404, f"there is no {path[:200]!a} here")
