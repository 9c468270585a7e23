"""The page in headless Chromium: a file dropped, codes heard and seen, files taken home; nothing from outside, and nothing for others."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from vqkit.data import read_audio, read_image, write_audio
from vqkit.models import ImageTokenizer, load_codec


def arrived(folder: Path, name: str) -> bytes:
    for _ in range(300):
        if (folder / name).is_file():
            return (folder / name).read_bytes()
        time.sleep(0.1)
    raise AssertionError(f"{name} was not downloaded, only {[path.name for path in folder.iterdir()]}")


def test_encode_and_decode_in_the_page(browser, page, models: dict[str, Path], tmp_path: Path) -> None:
    home, codec = tmp_path / "home", load_codec(models["three"])
    home.mkdir()
    write_audio(tmp_path / "a.wav", 0.3 * (torch.arange(16000) / 8).sin()[None], 16000)
    (tmp_path / "text.vqk").write_text("no codes")
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(home))
    browser.call("Page.navigate", url=page.url)

    browser.choose_file("#sound input[type=file]", tmp_path / "a.wav")
    browser.click("#model input")
    browser.wait("document.querySelector('#model [role=option][aria-label=three]') !== null")
    browser.click("#model [role=option][aria-label=three]")
    browser.wait("document.querySelector('#rate input').value === '0.75 kbit/s, 3 of 3 stages'")
    browser.wait("document.querySelector('#sound').innerText.includes('0:01')")
    browser.click("#encode")
    whole = "document.querySelectorAll('#encoded .vqkit-figures img').length === 4"
    browser.wait(f"{whole} && [...document.querySelectorAll('#encoded img')].every(i => i.naturalWidth > 1000)")
    browser.click("#download")
    data = arrived(home, "sound.vqk")
    assert data == codec.compress(read_audio(tmp_path / "a.wav").samples, 16000)
    shown = str(browser.js("document.querySelector('#encoded').innerText"))
    assert f"{len(data)} bytes" in shown
    assert "× real time" in shown

    browser.js("[...document.querySelectorAll('[role=tab]')].find(t => t.innerText.includes('Decode')).click()")
    browser.choose_file("#vqk input[type=file]", home / "sound.vqk")
    browser.wait("document.querySelector('#vqk .file-preview') !== null")
    browser.click("#decode")
    browser.wait("document.querySelectorAll('#decoded .vqkit-figures img').length === 3")
    browser.click("#download-decoded")
    arrived(home, "sound.wav")
    decoded = codec.decompress(data)[0].clamp(-1, 1)
    assert (read_audio(home / "sound.wav").samples - decoded).abs().max() < 1e-4

    browser.click("#vqk button[aria-label=Clear]")
    browser.choose_file("#vqk input[type=file]", tmp_path / "text.vqk")
    browser.wait("document.querySelector('#vqk .file-preview') !== null")
    browser.click("#decode")
    line = browser.wait("document.querySelector('.toast-body')?.innerText")
    assert "not a vqk file" in str(line)
    assert "Traceback" not in str(line)

    outside = [url for url in browser.requests if not url.startswith((page.url, "data:", "blob:"))]
    assert outside == []
    wide = browser.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide, "the page is wider than the window"


def test_an_image_in_the_page(browser, page, image_model: Path, photograph: Path, tmp_path: Path) -> None:
    home, tokenizer = tmp_path / "home", ImageTokenizer.from_pretrained(image_model)
    home.mkdir()
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(home))
    browser.call("Page.navigate", url=page.url)
    tab = "[...document.querySelectorAll('[role=tab]')].find(t => t.innerText.includes({name!r}))"
    browser.wait(f"{tab.format(name='image')} !== undefined")
    browser.js(f"{tab.format(name='image')}.click()")
    browser.choose_file("#image input[type=file]", photograph)
    browser.wait("document.querySelector('#image .file-preview') !== null")
    browser.click("#encode-image")
    for name in ("original", "reconstruction"):
        browser.wait(f"document.querySelector('#{name}-image img')?.naturalWidth === 45")
    browser.click("#download-image")
    data = arrived(home, "image.vqk")
    assert data == tokenizer.compress(read_image(photograph))
    browser.js(f"{tab.format(name='Decode')}.click()")
    browser.choose_file("#vqk input[type=file]", home / "image.vqk")
    browser.wait("document.querySelector('#vqk .file-preview') !== null")
    browser.click("#decode")
    browser.wait("document.querySelector('#restored-image img')?.naturalWidth === 45")
    browser.click("#download-decoded")
    arrived(home, "image.png")
    expected = tokenizer.decompress(data)
    assert (read_image(home / "image.png") - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert [url for url in browser.requests if not url.startswith((page.url, "data:", "blob:"))] == []


ATTACK = """<!doctype html><body><script>
const target = TARGET, form = new FormData(), order = JSON.stringify({data: [null, "two", 2], session_hash: "a", fn_index: 1});
form.append("files", new Blob(["x"]), "a.wav");
const read = async (path, options) => { try { return await (await fetch(target + path, options)).text() } catch { return "refused" } };
const element = (tag, attribute, path) => new Promise(done => {
  const made = document.createElement(tag);
  made.onload = () => done("loaded"); made.onerror = () => done("refused");
  made[attribute] = target + path; document.body.append(made); });
const socket = new Promise(done => { const s = new WebSocket(target.replace("http", "ws") + "/gradio_api/queue/data");
  s.onopen = () => done("open"); s.onerror = () => done("refused"); });
const events = new Promise(done => { const e = new EventSource(target + "/gradio_api/queue/data?session_hash=a");
  e.onopen = () => done("open"); e.onerror = () => done("refused"); });
const post = {method: "POST"}, json = {"Content-Type": "application/json"};
Promise.all([
  read("/config"), read("/"), read("/gradio_api/info"), read("/gradio_api/heartbeat/a"),
  read("/gradio_api/upload", {...post, body: form}), read("/gradio_api/queue/join", {...post, body: order, headers: json}),
  read("/gradio_api/call/encode", {...post, body: order}), read("/config", {credentials: "include"}),
  element("img", "src", "/static/img/logo.svg"), element("script", "src", "/static/js/iframeResizer.contentWindow.min.js"), socket, events,
]).then(async found => {
  for (const path of ["/gradio_api/upload", "/gradio_api/call/encode", "/gradio_api/queue/join"])  // sent, and not to be read
    await read(path, {...post, mode: "no-cors", referrerPolicy: "no-referrer", body: path.includes("upload") ? form : order});
  const frame = document.createElement("iframe"); frame.name = "frame"; document.body.append(frame);
  const sent = document.createElement("form"); Object.assign(sent, {...post, action: target + "/gradio_api/upload", target: "frame"});
  const loaded = new Promise(done => frame.onload = done); document.body.append(sent); sent.submit(); await loaded;
  document.title = JSON.stringify(found); });
</script>"""


@pytest.fixture
def evil(page) -> Iterator[int]:
    """The port of a website that wants something of the page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.replace("TARGET", json.dumps(page.url), 1).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:  # browsers open connections that they do not use
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_other_websites_neither_drive_the_page_nor_read_its_answers(browser, page, evil: int) -> None:
    """From a foreign site, from another port of this machine, and from names that are turned to it (DNS rebinding)."""
    before = len(page.recorder.passed)
    for site in ("evil.test", "127.0.0.1", "a.localhost"):
        browser.call("Page.navigate", url=f"http://{site}:{evil}/")
        found = json.loads(str(browser.wait("document.title.startsWith('[') && document.title")))
        assert found == ["refused"] * 12, site
    for name in ("evil.test", "a.localhost"):
        browser.call("Page.navigate", url=f"http://{name}:{page.port}/")
        assert f"the host '{name}:{page.port}' is not served here" in str(
            browser.wait(
                "document.readyState === 'complete' && document.body.innerText.includes('host') && document.body.innerText"
            )
        )
        posted = "fetch('/gradio_api/upload', {method: 'POST', body: 'x'}).then(answer => answer.status)"
        assert browser.js("fetch('/config').then(answer => answer.status)") == browser.js(posted) == 403
    assert page.recorder.passed[before:] == []


def test_text_of_files_is_shown_and_does_nothing(browser, page, models: dict[str, Path], tmp_path: Path) -> None:
    """The name of a file, and the name of a model in it."""
    markup = "<img src=x onerror='window.done=1'>![a](http://evil.test/b)[c](javascript:1)\x1b[31m\u202e"
    codec = load_codec(models["two"])
    with torch.no_grad():
        next(codec.parameters()).add_(1)  # weights that the page does not know
    codec.__class__ = type(markup, (type(codec),), {})
    vqk = tmp_path / "<img src=x onerror=window.done=1> &amp; *a*.vqk"
    vqk.write_bytes(codec.compress(torch.zeros(1, 3200), 16000))
    browser.call("Page.navigate", url=page.url)
    browser.wait("[...document.querySelectorAll('[role=tab]')].some(t => t.innerText.includes('Decode'))")
    browser.js("[...document.querySelectorAll('[role=tab]')].find(t => t.innerText.includes('Decode')).click()")
    browser.choose_file("#vqk input[type=file]", vqk)
    browser.wait("document.querySelector('#vqk .file-preview') !== null")
    browser.click("#decode")
    line = str(browser.wait("document.querySelector('.toast-body')?.innerText"))
    assert (
        "the file was written by <img src=x onerror='window.done=1'>![a](http://evil.test/b)[c](javascript:1)" in line
    )
    assert "\\x1b[31m\\u202e with weights" in line
    elements = "[...document.querySelectorAll('.toast-body img, .toast-body a, .file-preview img')].length"
    assert browser.js(elements) == 0
    assert browser.js("window.done") is None
    assert not [url for url in browser.requests if "evil" in url]
