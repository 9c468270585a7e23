"""The gate of the page, with real requests: what is not the page's own gets no further, and nothing about this machine gets out."""

import asyncio
import http.client
import json
import operator
import os
import re
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from vqkit.data import write_audio
from vqkit.serve.gate import Gate
from vqkit.serve.hosts import Hosts
from vqkit.serve.uploads import Limits

FORM = "multipart/form-data; boundary=edge"
JSON = {"Content-Type": "application/json"}
API = "/gradio_api"


def ask(page: Any, method: str, path: str, body: bytes | str | None = None, **headers: str) -> SimpleNamespace:
    """One request, with any headers that one likes."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    connection.putrequest(
        method, path, skip_host="host" in {name.lower() for name in headers}, skip_accept_encoding=True
    )
    body = body.encode() if isinstance(body, str) else body
    if body is not None:
        headers.setdefault("Content-Length", str(len(body)))
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    answer = connection.getresponse()
    read = b"" if answer.headers.get("content-type", "").startswith("text/event-stream") else answer.read()
    if not read and answer.status == 200 and method == "GET":
        read = b"".join(iter(lambda: answer.read1(65536), b""))
    connection.close()
    return SimpleNamespace(status=answer.status, text=read.decode(errors="replace"), body=read, headers=answer.headers)


def form(data: bytes, name: str = "a.wav", more: bytes = b"") -> bytes:
    part = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n'
    return part % (name.encode(), data) + more + b"--edge--\r\n"


def upload(page: Any, data: bytes, name: str = "a.wav", **headers: str) -> SimpleNamespace:
    return ask(page, "POST", f"{API}/upload", form(data, name), Content_Type=FORM, **headers)


def uploaded(page: Any, data: bytes, name: str = "a.wav") -> str:
    return json.loads(upload(page, data, name).text)[0]


def given(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def run(page: Any, job: str, *inputs: Any) -> Any:
    """The results of a job, or the line of its error."""
    event = json.loads(ask(page, "POST", f"{API}/call/{job}", json.dumps({"data": inputs}), **JSON).text)["event_id"]
    found = re.findall(r"event: (\w+)\ndata: (.*)\n", ask(page, "GET", f"{API}/call/{job}/{event}").text)
    kind, data = found[-1]
    return json.loads(data) if kind == "complete" else json.loads(data)["error"]


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tone") / "a.wav"
    write_audio(path, 0.3 * (torch.arange(16000) / 8).sin()[None], 16000)
    return path.read_bytes()


@pytest.fixture
def nothing_passes(page: Any) -> Iterator[None]:
    """What a test asks for does not reach gradio."""
    before = len(page.recorder.passed)
    yield
    assert page.recorder.passed[before:] == []


OURS = [
    ("GET", "/"), ("GET", "/config"), ("GET", "/theme.css"), ("GET", "/favicon.ico"), ("GET", "/manifest.json"), ("GET", "/robots.txt"),
    ("GET", "/static/img/logo.svg"), ("GET", f"{API}/info"), ("GET", f"{API}/theme.css"), ("GET", f"{API}/queue/data?session_hash=a"),
    ("GET", f"{API}/upload_progress?upload_id=a"), ("GET", f"{API}/heartbeat/a"), ("GET", f"{API}/call/encode/a"),
    ("GET", f"{API}/file=vqkit-files/a/b"), ("POST", f"{API}/upload"), ("POST", f"{API}/queue/join"), ("POST", f"{API}/call/encode"),
]  # fmt: skip


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize(("method", "path"), OURS)
def test_other_websites_reach_nothing(page: Any, method: str, path: str) -> None:
    """Neither by the address of this machine, nor by a name that is turned to it, nor by a name that means it anyway."""
    own = {"Host": f"127.0.0.1:{page.port}"}
    for headers in (
        {"Host": f"evil.example:{page.port}"},
        {"Host": f"a.localhost:{page.port}"},
        {"Host": f"evil.example:{page.port}", "Origin": f"http://evil.example:{page.port}"},
        {**own, "Origin": "https://evil.example"},
        {**own, "Origin": "null"},
        {**own, "Origin": f"http://localhost:{page.port}"},
        {**own, "Origin": f"http://127.0.0.1:{page.port - 1}"},
        {**own, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {**own, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {**own, "X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"},
        *([{**own, "Referer": "https://evil.example/"}] if method == "POST" else []),
    ):
        body = None if method == "GET" else "{}"
        answer = ask(page, method, path, body, **headers)
        assert answer.status == 403, headers
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert len(answer.text.splitlines()) == 1


@pytest.mark.usefixtures("nothing_passes")
def test_nobody_is_allowed_to_read_across_origins(page: Any) -> None:
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = ask(page, "OPTIONS", f"{API}/queue/join", **preflight)
    assert answer.status == 403
    own = ask(page, "OPTIONS", f"{API}/queue/join", Origin=page.url, Access_Control_Request_Method="POST")
    assert own.status == 405
    for headers in (answer.headers, own.headers):
        assert not [name for name in headers if name.lower().startswith("access-control-")]


def test_answers_are_for_the_page_alone(page: Any) -> None:
    for path in ("/", "/config", "/static/img/logo.svg", "/nowhere"):
        headers = ask(page, "GET", path, Origin=page.url).headers
        assert not [name for name in headers if name.lower().startswith("access-control-")]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].endswith("frame-ancestors 'none'")
        assert "https:" not in headers["content-security-policy"]


def test_a_link_from_elsewhere_opens_the_page(page: Any) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask(page, "GET", "/", **link).status == 200
    assert ask(page, "GET", "/config", **link).status == 403


def test_whoever_forwards_does_not_choose_the_addresses_in_answers(page: Any) -> None:
    for name in ("X-Forwarded-Host", "X-Gradio-Server", "Forwarded"):
        answer = ask(page, "GET", "/config", **{name: "http://evil.example"})
        assert answer.status == 200
        assert "evil.example" not in answer.text


@pytest.mark.usefixtures("nothing_passes")
def test_websockets_and_unfinished_requests_are_refused(page: Any) -> None:
    for path in (f"{API}/queue/join", f"{API}/queue/data", "/"):
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Origin": "https://evil.example",
        }
        assert ask(page, "GET", path, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **upgrade).status == 403
    for request in (
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nHost: evil.example\r\n\r\n" % page.port,
    ):
        with socket.create_connection(("127.0.0.1", page.port), timeout=10) as raw:
            raw.sendall(request)
            assert re.match(rb"HTTP/1.1 40[03] ", raw.recv(1000))


def test_a_websocket_would_be_closed_if_the_server_knew_any() -> None:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    gate = Gate(None, Hosts("127.0.0.1", 7860), None, Limits(), ())
    asyncio.run(gate({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert told == [{"type": "websocket.close", "code": 1008}]


def _routes(router: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in router.routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from _routes(included, prefix)
        else:
            path = re.sub(r"\{(\w+)(:\w+)?\}", "1", route.path)
            yield from ((method, path) for method in getattr(route, "methods", None) or ["GET"])


def test_of_gradios_routes_only_those_of_the_page_are_there(page: Any) -> None:
    """Whatever a version of gradio brings: proxies, recordings, editors, histories, calls beside the queue."""
    routes = [*_routes(page.gradio)]
    assert len(routes) > 60
    assert ("GET", f"{API}/proxy=1") in routes
    before, open_ = len(page.recorder.passed), set()
    for method, path in routes:
        if method == "GET" and ("/heartbeat/" in path or "/queue/data" in path):
            open_.add((method, path))  # a stream without an end
            continue
        answer = ask(page, method, path, None if method in ("GET", "HEAD") else "{}", **JSON)
        if len(page.recorder.passed) > before:
            open_.add((method, path))
            before = len(page.recorder.passed)
        else:
            assert answer.status in (404, 405, 411, 413, 422), (method, path, answer.status)
    named = ["assets/1", "static/1", "favicon.ico", "theme.css", "manifest.json", "robots.txt", "config"]
    api = ["info", "theme.css", "queue/data", "upload_progress", "heartbeat/1", "call/1/1"]
    expected = {("GET", "/"), ("HEAD", "/"), ("POST", f"{API}/upload")}
    expected |= {("GET", f"/{name}") for name in named} | {("GET", f"{API}/{name}") for name in api}
    assert open_ == expected


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}/run/encode"), ("POST", f"{API}/run/predict"), ("POST", f"{API}/api/encode"), ("POST", f"{API}/call/v2/encode"),
        ("POST", f"{API}/call/none"), ("POST", f"{API}/component_server"), ("POST", f"{API}/process_recording"),
        ("POST", f"{API}/stream/a"), ("POST", f"{API}/cancel"), ("POST", f"{API}/reset"), ("POST", "/login"), ("POST", "/"),
        ("GET", f"{API}/proxy=https://a.hf.space/x"), ("GET", f"{API}/deep_link?session_hash=a"), ("GET", f"{API}/startup-events"),
        ("GET", f"{API}/file/etc/passwd"), ("GET", f"{API}/custom_component/a/client/b/c"), ("GET", f"{API}/runs"),
        ("GET", f"{API}/stream/a/b/1/playlist.m3u8"), ("GET", "/monitoring/summary"), ("GET", "/svelte/x.js"), ("GET", f"{API}/token"),
        ("GET", "//evil.example/"), ("GET", f"{API}/call/encode/../../run"), ("PUT", f"{API}/upload"),
        ("DELETE", "/"), ("TRACE", "/"), ("GET", "/%2e%2e/config"), ("GET", f"{API}/openapi.json"),
        ("GET", "/openapi.json"), ("GET", "/docs"),
    ],
)  # fmt: skip
def test_named_routes_are_not_there(page: Any, method: str, path: str) -> None:
    answer = ask(page, method, path, "{}" if method in ("POST", "PUT") else None)
    assert answer.status in (400, 404, 405)
    assert len(answer.text.splitlines()) <= 1


# --- nothing is fetched


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[SimpleNamespace]:
    """Another server, which notes who comes."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/a.wav", came=came)
        server.shutdown()


def _wrong_inputs(page: Any, elsewhere: str, secret: Path) -> list[Any]:
    own = page.folder.path
    names = [
        elsewhere, elsewhere.replace("http", "HTTP", 1), f"//{elsewhere[7:]}", f"{API}/file={elsewhere}", f"{API}/proxy={elsewhere}",
        f"file://{secret}", str(secret), "/etc/passwd", f"{own}/../{secret.name}", "vqkit-files/../secret",
        str(own / "owner.lock"), ".", "",
    ]  # fmt: skip
    inputs: list[Any] = [given(name) for name in names]
    inputs += [{"path": name} for name in names]
    inputs += [given(name, url=elsewhere, orig_name="a.wav", is_stream=True) for name in names[6:8]]
    inputs += [
        {"url": elsewhere, "meta": {"_type": "gradio.FileData"}},
        {"url": elsewhere},
        {"data": f"data:audio/wav;base64,{'A' * 99}"},
    ]
    inputs += [
        [given(elsewhere)],
        {"value": given(elsewhere)},
        {"path": given(elsewhere)},
        {"path": [elsewhere]},
        {"__type__": "update"},
        {},
    ]
    return inputs


@pytest.mark.usefixtures("nothing_passes")
def test_no_input_names_an_address_or_a_file_that_was_not_uploaded(page: Any, elsewhere: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for value in _wrong_inputs(page, elsewhere.url, secret):
        for path, body in (
            (f"{API}/call/encode", {"data": [value, "two", 2]}),
            (f"{API}/call/decode", {"data": [value]}),
            (f"{API}/queue/join", {"data": [value], "fn_index": 2, "session_hash": "a"}),
        ):
            answer = ask(page, "POST", path, json.dumps(body), **JSON)
            assert answer.status == 422, value
            assert answer.text == "an input is neither a plain value nor a file that was uploaded here: drop it again\n"
    assert elsewhere.came == []


@pytest.mark.usefixtures("nothing_passes")
def test_no_file_is_served_that_is_not_the_pages(page: Any, elsewhere: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    own = page.folder.path
    for name in (
        elsewhere.url, f"/{elsewhere.url}", elsewhere.url.replace(":", "%3A"), "https://example.org/a", str(secret), "/etc/passwd",
        "..%2f..%2fetc%2fpasswd", f"{own}/owner.lock", "vqkit-files/owner.lock", "vqkit-files/..%2f..%2fetc%2fpasswd",
        "vqkit-files/a%00b/c",
        str(Path(__file__)), f"file://{secret}", "",
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            answer = ask(page, method, f"{API}/file={name}")
            assert answer.status == 404, name
            assert "secret" not in answer.text
    assert elsewhere.came == []


def test_what_comes_through_is_rebuilt(page: Any, tone: bytes, elsewhere: Any) -> None:
    name = uploaded(page, tone)
    value = given(
        name,
        url=elsewhere.url,
        orig_name="/etc/passwd",
        is_stream=True,
        size=1,
        mime_type="x",
        more={"path": "/etc/passwd"},
    )
    body = {
        "data": [value, "two", 2],
        "event_data": {"path": "/etc"},
        "simple_format": True,
        "request": {},
        "batched": True,
        "event_id": "b",
    }
    answer = ask(page, "POST", f"{API}/call/encode", json.dumps({**body, "session_hash": "rebuilt"}), **JSON)
    assert answer.status == 200
    real = {"path": str(page.folder.upload(name)), "meta": {"_type": "gradio.FileData"}}
    order = {"data": [real, "two", 2], "session_hash": "rebuilt"}
    assert page.recorder.passed[-1] == ["POST", f"{API}/call/encode", order]
    ask(page, "GET", f"{API}/call/encode/{json.loads(answer.text)['event_id']}")
    assert elsewhere.came == []


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("call/encode", "not JSON", 400), ("call/encode", "[" * 60000, 400), ("call/encode", "[]", 422),
        ("call/encode", '{"data": {}}', 422),
        ("call/encode", json.dumps({"data": [None] * 9}), 422), ("call/encode", json.dumps({"data": ["x" * 1001]}), 422),
        ("call/encode", json.dumps({"data": ["x" * 70000]}), 413), ("call/encode", '{"data": [], "session_hash": "a/b"}', 422),
        ("queue/join", '{"data": [], "fn_index": 99, "session_hash": "a"}', 422), ("queue/join", '{"data": [], "fn_index": 1}', 422),
        ("queue/join", '{"data": [], "fn_index": "encode", "session_hash": "a"}', 422),
        ("queue/join", '{"data": [], "fn_index": true, "session_hash": "a"}', 422),
        ("queue/join", '{"data": [], "fn_index": 1, "session_hash": "a", "trigger_id": []}', 422),
        ("queue/join", '{"data": [], "session_hash": "a"}', 422),
    ],
)  # fmt: skip
def test_requests_of_another_form_are_refused_in_one_line(page: Any, path: str, body: str, status: int) -> None:
    answer = ask(page, "POST", f"{API}/{path}", body, **JSON)
    assert answer.status == status
    assert len(answer.text.splitlines()) == 1


def test_a_playlist_opens_no_other_file(page: Any, tmp_path: Path) -> None:
    """What the case strangers-1 tries on the command line."""
    samples = 0.3 * np.sin(np.arange(48000) * 0.05)
    soundfile.write(tmp_path / "secret.mp3", samples, 16000)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{tmp_path}/secret.mp3\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp3'\n"
    for name, text in (("a.m3u8", playlist), ("a.wav", playlist), ("a.mp3", concat), ("a.ffconcat", concat)):
        line = run(page, "encode", given(uploaded(page, text.encode(), name)), "two", 2)
        assert line == "the file is not audio that soundfile or PyAV can read"


# --- sizes


def test_an_upload_is_as_big_as_it_may_be_and_no_bigger(page: Any) -> None:
    megabyte = bytes(1 << 20)
    assert upload(page, megabyte).status == 200
    over = upload(page, bytes((1 << 20) + 1))
    assert over.status == 413
    files = b"".join(form(megabyte, f"{number}.wav").removesuffix(b"--edge--\r\n") for number in range(3))
    many = ask(page, "POST", f"{API}/upload", files + b"--edge--\r\n", Content_Type=FORM)
    assert many.status == 413
    assert many.text == f"{len(files) + 10} bytes were sent; at most 1 MB are taken here\n"
    field = b'--edge\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + bytes(2 << 20) + b"\r\n"
    assert ask(page, "POST", f"{API}/upload", form(b"a", more=field), Content_Type=FORM).status == 413
    assert not [path for path in page.folder.path.glob("tmp*") if path.is_file() and path.stat().st_size]


@pytest.mark.usefixtures("nothing_passes")
def test_a_length_must_be_stated_and_be_true(page: Any) -> None:
    body = form(bytes(100))
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for path in ("upload", "queue/join", "call/encode"):
        for length in ({}, {"Content-Length": "10"}, {"Content-Length": "-1"}, {"Content-Length": "1e3"}):
            connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
            connection.putrequest("POST", f"{API}/{path}")
            for name, value in {"Content-Type": FORM, "Transfer-Encoding": "chunked", **length}.items():
                connection.putheader(name, value)
            connection.endheaders(chunked)
            assert connection.getresponse().status in (400, 411), (path, length)
            connection.close()


def test_the_disk_is_never_fuller_than_its_quota_and_the_page_goes_on(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used() -> int:
        return sum(path.stat().st_size for path in page.folder.path.rglob("*") if path.is_file())

    answers = [upload(page, bytes([number]) * (1 << 20)) for number in range(20)]
    assert {answer.status for answer in answers[:10]} == {200}
    assert answers[-1].status == 507
    assert answers[-1].text == "the page's disk quota of 16 MB is used up; try again in a few minutes\n"
    assert used() <= 16 << 20
    monkeypatch.setattr("vqkit.serve.folder._SECURE_SECONDS", 0.0)  # as if the minute were over
    assert upload(page, b"more" * 1000).status == 200
    assert used() <= 16 << 20
    page.folder.remove_old(0)


# --- nothing about this machine gets out


def test_no_answer_tells_a_path_of_this_machine(page: Any, tone: bytes) -> None:
    name = uploaded(page, tone, "tone.wav")
    results = run(page, "encode", given(name), "two", 2)
    line = run(page, "encode", given(uploaded(page, b"this is no sound", "b.wav")), "two", 2)
    assert line == "the file is not audio that soundfile or PyAV can read"
    texts = [name, json.dumps(results), line, json.dumps(run(page, "encode", given(uploaded(page, b"x")), "none", 2))]
    texts += [
        run(page, "decode", given(name)),
        str(run(page, "encode", None, "two", 99)),
        str(run(page, "rates", "/etc")),
    ]
    for method, path in [
        *OURS[:9],
        ("GET", "/nowhere"),
        ("GET", f"{API}/file=x"),
        ("GET", f"{API}/call/encode/none"),
        *OURS[-3:],
    ]:
        answer = ask(page, method, path, None if method == "GET" else "{}")
        texts += [answer.text, str(answer.headers)]
    own = [
        str(page.folder.path),
        tempfile.gettempdir() + "/",
        str(Path.home()) + "/",
        os.getcwd(),
        sys.prefix,
        str(Path(torch.__file__).parents[1]),
    ]
    for text in texts:
        assert not [path for path in own if path in text]
        assert "Traceback" not in text
    assert results[3]["path"].startswith("vqkit-files/results/")
    assert results[3]["url"] == f"{page.url}{API}/file={results[3]['path']}"


def test_files_are_served_as_what_cannot_run(page: Any, tone: bytes) -> None:
    """A page or a picture with a script in it is a download, and not shown under this server's name."""
    for data, name, kind, way in (
        (tone, "a.wav", "audio/", "inline"),
        (b"<script>1</script>", "a.html", "application/octet-stream", "attachment"),
        (b"<svg onload='1'/>", "b.svg", "application/octet-stream", "attachment"),
        (b"<script>1</script>", "c", "application/octet-stream", "attachment"),
    ):
        answer = ask(page, "GET", f"{API}/file={uploaded(page, data, name)}")
        assert answer.body == data
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"].startswith(way)
    part = ask(page, "GET", f"{API}/file={uploaded(page, tone)}", Range="bytes=8-11")
    assert (part.status, part.body) == (206, b"WAVE")


# --- jobs


def test_a_job_that_never_ends_is_ended_and_the_others_are_done(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = partial(
        operator.contains, iter(int, 1)
    )  # there are zeros without an end, and no Ctrl-C gets through to it
    with monkeypatch.context() as patch:
        usual = page.worker.run
        patch.setattr(page.worker, "run", lambda *_: usual(sorted, key=endless))
        patch.setattr(page.worker, "_seconds", 1.5)
        assert run(page, "decode", given(uploaded(page, b"RIFF"))) == "the job was ended: it took more than 1.5 s"
    assert run(page, "decode", None) == "drop a .vqk file first"
    assert page.worker.run(len) == 3  # in another process
