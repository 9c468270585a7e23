"""Where the page listens, and how it is called."""

import http.client
import re
import socket
import tempfile
from pathlib import Path

import pytest

from vqkit.models import load_codec
from vqkit.serve.server import _listening, _url, serving
from vqkit.serve.uploads import Limits


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def status(host: str, port: int, called: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/config", headers={"Host": called})
    found = connection.getresponse().status
    connection.close()
    return found


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_further_names_and_nothing_left(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    codecs = {"two": load_codec(models["two"])}
    with serving(codecs, host="[::1]", port=None, allow_hosts=["page.example"]) as url:
        found = re.fullmatch(r"http://\[::1\]:(\d+)", url)
        assert found
        port = int(found[1])
        assert 7860 <= port < 7960
        for name, expected in ((f"[::1]:{port}", 200), ("page.example", 200), ("other.example", 403)):
            assert status("::1", port, name) == expected
        with (
            pytest.raises(OSError, match=f"^port {port} of ::1 is taken; --port names another$"),
            _listening("::1", port),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_addresses_of_pages() -> None:
    assert [_url(host, 1) for host in ("127.0.0.1", "::1", "0.0.0.0", "::", "a.example")] == [
        "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "http://localhost:1", "http://a.example:1",
    ]  # fmt: skip


def test_no_address_of_this_machine() -> None:
    for host in ("192.0.2.1", "no.such.name.invalid"):
        with pytest.raises(OSError, match=f"^cannot listen on '{host}': "), _listening(host, 7860):
            pass


def test_taken_ports_are_passed_over() -> None:
    with _listening("127.0.0.1", None) as first, _listening("127.0.0.1", None) as second:
        assert first.getsockname()[1] < second.getsockname()[1]


def test_no_codec_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="a page needs at least one model"), serving({}, Limits()):
        pass
    assert list(tmp_path.iterdir()) == []
