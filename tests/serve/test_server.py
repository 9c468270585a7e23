"""``vqkit serve`` as a process, over HTTP: real uploads, real downloads, and nothing left when it ends."""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from vqkit.data import read_audio, read_image, write_audio, write_image
from vqkit.models import ImageTokenizer, load_codec


def upload(url: str, name: str, data: bytes) -> Path:
    """Upload as a browser does; returns where the server says it lies."""
    body = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % name.encode()
    request = urllib.request.Request(
        f"{url}/gradio_api/upload",
        data=body + data + b"\r\n--edge--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=edge"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return Path(json.load(answer)[0])


def run(url: str, name: str, *arguments: object) -> list | str:
    """Run a job of the page; its results, or the line that it shows."""
    data = json.dumps({"data": arguments}).encode()
    request = urllib.request.Request(
        f"{url}/gradio_api/call/{name}", data=data, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/{name}/{event}", timeout=120) as stream:
        kind = ""
        for line in stream:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            kind = value if field == "event" else kind
            if field == "data" and kind in ("complete", "error"):
                found = json.loads(value)
                return found if kind == "complete" else found["error"]
    raise AssertionError("the job has no end")


def download(file: dict) -> bytes:
    with urllib.request.urlopen(file["url"], timeout=30) as answer:
        return answer.read()


def given(path: Path) -> dict:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_upload_encode_download_decode_and_leave_nothing(
    server, models: dict[str, Path], image_model: Path, photograph: Path, tmp_path: Path
) -> None:
    assert server.greeting == f"two, three, pictures: {server.url} (Ctrl-C ends it)\n"
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        page = answer.read().decode()
        policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self' ")
    assert "https:" not in policy
    assert "fonts.googleapis" not in page
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", server.port), timeout=5):
        pass  # another address of this machine

    codec = load_codec(models["two"])
    write_audio(tmp_path / "a.wav", 0.3 * (torch.arange(16000) / 8).sin()[None], 16000)
    wave = read_audio(tmp_path / "a.wav")
    (folder,) = server.temporary.glob("vqkit-serve-*")
    assert folder.stat().st_mode & 0o077 == 0
    sound = upload(server.url, "../../../evil <b>.wav", (tmp_path / "a.wav").read_bytes())
    assert sound.parts[0] == "vqkit-files"
    assert all(folder in path.parents for path in tmp_path.rglob("*evil*"))

    _, notes, numbers, original, reconstruction, vqk, figures = run(server.url, "encode", given(sound), "two", 2)
    assert notes == ""
    data = download(vqk)
    assert data == codec.compress(wave.samples, 16000)
    assert Path(vqk["path"]).name == "sound.vqk"
    assert f"{len(data)} bytes" in numbers
    assert figures.count('<img src="data:image/png;base64,') == 4
    (tmp_path / "back.wav").write_bytes(download(reconstruction))
    decoded = codec.decompress(data)[0]
    assert (read_audio(tmp_path / "back.wav").samples - decoded.clamp(-1, 1)).abs().max() < 1e-4
    (tmp_path / "original.wav").write_bytes(download(original))
    assert torch.equal(read_audio(tmp_path / "original.wav").samples, wave.samples)

    _, written, _, sound, image, restored, figures = run(server.url, "decode", given(upload(server.url, "b.vqk", data)))
    assert written == "<p>Written by two.</p>"
    assert image["visible"] is False
    assert download(sound["value"]) == download(restored["value"]) == (tmp_path / "back.wav").read_bytes()
    assert figures.count("<img") == 3

    tokenizer = ImageTokenizer.from_pretrained(image_model)
    image = upload(server.url, "evil <b>.png", photograph.read_bytes())
    _, notes, numbers, original, reconstruction, vqk, figures = run(
        server.url, "encode_image", given(image), "pictures", 2
    )
    picture = download(vqk)
    assert picture == tokenizer.compress(read_image(photograph))
    assert f"{len(picture)} bytes" in numbers
    assert figures.count('<img src="data:image/png;base64,') == 2
    (tmp_path / "original.png").write_bytes(download(original))
    assert torch.equal(read_image(tmp_path / "original.png"), read_image(photograph))
    _, written, _, sound, image, restored, _ = run(server.url, "decode", given(upload(server.url, "c.vqk", picture)))
    assert written == "<p>Written by pictures.</p>"
    assert sound["visible"] is False
    assert download(image["value"]) == download(restored["value"]) == download(reconstruction)

    write_image(tmp_path / "large.png", torch.zeros(3, 101, 100))
    write_audio(tmp_path / "long.flac", torch.zeros(1, 16000 * 6), 16000)
    for name, job, content, message in (
        ("c.wav", "encode", b"this is <b>no</b> sound", "the file is not audio that soundfile or PyAV can read"),
        ("d.wav", "encode", b"", "the file is empty (0 bytes)"),
        (
            "e.flac",
            "encode",
            (tmp_path / "long.flac").read_bytes(),
            "the sound lasts 6.0 s; at most 5 s are taken here",
        ),
        ("h.png", "encode_image", (tmp_path / "large.png").read_bytes(), "the file has 100 × 101 pixels"),
        ("i.png", "encode_image", b"this is <b>no</b> image", "the file is not an image"),
        ("j.png", "encode_image", b"", "the file is empty (0 bytes)"),
        ("k.vqk", "decode", picture[:12] + b"\x00" + picture[13:], "the header is damaged: its checksum is wrong"),
        ("f.vqk", "decode", data[:12] + b"\x00" + data[13:], "the header is damaged: its checksum is wrong"),
        ("g.vqk", "decode", b"RIFF", "not a vqk file"),
    ):
        path = upload(server.url, name, content)
        line = run(server.url, job, given(path), *{"encode": ["two", 2], "encode_image": ["pictures", 2]}.get(job, []))
        assert isinstance(line, str), line
        assert line.startswith(message)
        assert not path.exists()
    assert run(server.url, "encode", None, "two", 2) == "drop a sound file first, or record one"
    assert run(server.url, "encode_image", None, "pictures", 2) == "drop an image file first"
    with pytest.raises(urllib.error.HTTPError) as refused:
        upload(server.url, "big.wav", bytes((1 << 20) + 1))
    assert refused.value.code == 413

    assert server.stop() == ""  # no tracebacks
    left = [path.name for path in server.temporary.iterdir()]  # other libraries may leave caches of their own
    assert not [name for name in left if name.startswith(("vqkit", "gradio"))]
    assert not [*server.temporary.rglob("*.wav"), *server.temporary.rglob("*.vqk"), *server.temporary.rglob("*.png")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "0"], "--port is 0, it must be in 1 … 65535"),
        (["--max-seconds", "-1"], "max_seconds must be a number above 0, got -1.0"),
        (["--max-megapixels", "0"], "max_megapixels must be a number above 0, got 0.0"),
        (["--job-seconds", "0"], "job_seconds must be a number above 0, got 0.0"),
        (["--disk-megabytes", "1"], "disk_megabytes is 1, it must be at least max_megabytes, 25"),
        (["--model", "/nowhere"], "no such folder: /nowhere; a model is a folder that save_pretrained wrote"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from vqkit.cli import main

    assert main(["serve", *options]) == 2
    assert capsys.readouterr().err == f"vqkit: {message}\n"


def test_models_are_named_by_the_ends_of_their_paths(models: dict[str, Path], tmp_path: Path) -> None:
    from vqkit.serve.command import _models

    other = tmp_path / "more" / "two"
    other.parent.mkdir()
    other.symlink_to(models["two"], target_is_directory=True)
    load_codec(models["three"]).save_pretrained(tmp_path / "again" / "two")
    found = _models([str(models["two"]), str(tmp_path / "again" / "two"), str(models["three"])])
    assert list(found) == [f"{models['two'].parent.name}/two", "again/two", "three"]
    with pytest.raises(ValueError, match="a model is named twice"):
        _models([str(models["two"]), str(other)])
