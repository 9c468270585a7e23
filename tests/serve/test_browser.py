"""The page in headless Chromium: a file dropped, codes heard and seen, files taken home; and nothing from outside."""

import time
from pathlib import Path

import torch

from vqkit.data import read_audio, write_audio
from vqkit.models import load_codec


def arrived(folder: Path, name: str) -> bytes:
    for _ in range(300):
        if (folder / name).is_file():
            return (folder / name).read_bytes()
        time.sleep(0.1)
    raise AssertionError(f"{name} was not downloaded, only {[path.name for path in folder.iterdir()]}")


def test_encode_and_decode_in_the_page(browser, server, models: dict[str, Path], tmp_path: Path) -> None:
    home, codec = tmp_path / "home", load_codec(models["three"])
    home.mkdir()
    write_audio(tmp_path / "a.wav", 0.3 * (torch.arange(16000) / 8).sin()[None], 16000)
    (tmp_path / "text.vqk").write_text("no codes")
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(home))
    browser.call("Page.navigate", url=server.url)

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
    browser.click("#download-wav")
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

    outside = [url for url in browser.requests if not url.startswith((server.url, "data:", "blob:"))]
    assert outside == []
    wide = browser.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide, "the page is wider than the window"
