"""A running ``vqkit serve`` with two small codecs, and a Chromium that is driven through its debugging pipe."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from vqkit import RVQ
from vqkit.data import write_image
from vqkit.models import ConvBackbone, ImageTokenizer, SpectralCodec, load_codec
from vqkit.serve.folder import PrivateFolder
from vqkit.serve.uploads import Limits
from vqkit.serve.worker import Worker

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_EXEC = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def tiny(stages: int, seed: int) -> SpectralCodec:
    torch.manual_seed(seed)
    sizes = {"encoder_width": 8, "encoder_blocks": 1, "decoder_width": 8, "decoder_blocks": 1}
    return SpectralCodec(RVQ(16, 32, stages), sample_rate=16000, **sizes).eval()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of saved codecs: of two stages, and of three."""
    folder = tmp_path_factory.mktemp("models")
    for name, stages in (("two", 2), ("three", 3)):
        tiny(stages, stages).save_pretrained(folder / name)
    return {name: folder / name for name in ("two", "three")}


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a saved image tokenizer of two stages."""
    torch.manual_seed(0)
    backbone = ConvBackbone(6, width=4, residual_width=2, residual_blocks=1)
    tokenizer = ImageTokenizer(backbone, RVQ(6, 16, 2)).eval()
    tokenizer.quantizer.fit(tokenizer.analyze(torch.rand(4, 3, 32, 32)))
    folder = tmp_path_factory.mktemp("image") / "pictures"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 45 × 30 pixels whose sides are no multiples of the cell."""
    ramp = torch.linspace(0, 1, 45).expand(30, -1)
    path = tmp_path_factory.mktemp("photograph") / "a.png"
    write_image(path, torch.stack([ramp, 1 - ramp, (ramp * 9).sin().abs()]))
    return path


class Server:
    """``vqkit serve`` as a process; its temporary files are in ``temporary``."""

    def __init__(self, models: dict[str, Path], temporary: Path, *options: str) -> None:
        port = free_port()
        named = [argument for path in models.values() for argument in ("--model", str(path))]
        environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
        self.temporary, self.port, self.url = temporary, port, f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vqkit.cli", "serve", *named, "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.greeting = self.process.stdout.readline()
        if self.url not in self.greeting:
            self.stop()
            pytest.fail(f"vqkit serve did not start: {self.greeting}{self.process.stdout.read()}")

    def stop(self) -> str:
        """End it as systemd would; returns what it printed since it greeted."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)[0]


@pytest.fixture
def server(models: dict[str, Path], image_model: Path, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("gradio", reason="gradio is not installed")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    limits = ("--max-megabytes", "1", "--max-seconds", "5", "--max-megapixels", "0.01")
    running = Server({**models, "pictures": image_model}, temporary, *limits)
    yield running
    if running.process.poll() is None:
        running.stop()


class Recorder:
    """Stands between the gate and gradio, and keeps what comes through."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.passed: list[list[Any]] = []  # method, path, body of JSON

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        entry: list[Any] = [scope["method"], scope["path"], None]
        self.passed.append(entry)
        body, is_json = b"", dict(scope["headers"]).get(b"content-type") == b"application/json"

        async def recorded() -> Any:
            nonlocal body
            message = await receive()
            if is_json:
                body += message.get("body", b"")
                entry[2] = None if message.get("more_body") else json.loads(body or b"null")
            return message

        await self.app(scope, recorded, send)


@dataclass
class Page:
    """A page that is served by this process."""

    url: str
    folder: PrivateFolder
    recorder: Recorder
    worker: Worker

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def gradio(self) -> Any:
        """Gradio's application."""
        return self.recorder.app.routes[-1].app


@pytest.fixture(scope="session")
def page(models: dict[str, Path], image_model: Path) -> Iterator[Page]:
    """A page with the two codecs and the tokenizer, for all tests that do not end it."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    from vqkit.serve import server
    from vqkit.serve.gate import Gate

    kept: list[Any] = []

    def recorded(app: Any, hosts: Any, folder: PrivateFolder, *rest: Any) -> Gate:
        kept.extend((Recorder(app), folder))
        return Gate(kept[0], hosts, folder, *rest)

    limits = Limits(max_megabytes=1, max_seconds=5, job_seconds=60, disk_megabytes=16, max_megapixels=0.1)
    codecs = {name: load_codec(path) for name, path in models.items()}
    codecs["pictures"] = ImageTokenizer.from_pretrained(image_model)
    worker = Worker(codecs, limits.job_seconds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "Gate", recorded)
        patch.setattr(server, "Worker", lambda *_: worker)
        with server.serving(codecs, limits, port=free_port()) as url:
            yield Page(url, kept[1], kept[0], worker)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Browser:
    """One page of a headless Chromium; requests that it makes are kept in ``requests``."""

    def __init__(self, profile: Path, *options: str, width: int = 1400, height: int = 1000) -> None:
        (read, to_us), (from_us, write) = os.pipe(), os.pipe()
        command = [sys.executable, "-c", _EXEC, str(from_us), str(to_us), CHROMIUM, "--headless=new", "--no-sandbox"]
        command += ["--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        command += ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server", *options]
        command += ["about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(from_us, to_us), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(from_us), os.close(to_us)
        self._read, self._write, self._rest, self._count = read, write, b"", 0
        self._session: str | None = None
        self.requests: list[str] = []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """A command of the DevTools protocol, and its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])

    def _next(self, seconds: float = 30) -> dict:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], seconds)[0], "Chromium says nothing"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium is gone"
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def js(self, expression: str) -> object:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> object:
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + seconds
        while not (value := self.js(condition)):
            assert time.monotonic() < end, (
                f"{condition} is not true after {seconds} s: {self.js('document.body.innerText')}"
            )
            time.sleep(0.1)
        return value

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to an input, as a person would."""
        self.wait(f"document.querySelector({selector!r}) !== null")
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=found)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of an element, when it is there and has come to rest."""
        self.wait(f"document.querySelector({selector!r}) !== null")
        box = f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
        box += " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        place = None
        while place != (place := self.js(box)):
            time.sleep(0.2)
        x, y = place
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        """End it."""
        try:
            self.call("Browser.close")
            self._process.wait(timeout=10)
        finally:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            os.close(self._read), os.close(self._write)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser that finds every name below ``.test`` on this machine, as one whose owner has turned its names so."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: chromium, chromium-browser and google-chrome are not on the path")
    opened = Browser(tmp_path / "profile", "--host-resolver-rules=MAP *.test 127.0.0.1")
    yield opened
    opened.close()
