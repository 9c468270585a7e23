"""Who may talk to the page: names of the server, and pages that ask."""

import socket

import pytest

from vqkit.serve.hosts import Address, Hosts

OWN = "127.0.0.1:7860"


def refused(hosts: Hosts, method: str = "POST", path: str = "/gradio_api/upload", **headers: str) -> bool:
    return hosts.refusal(method, path, {name.replace("_", "-"): value for name, value in headers.items()}) is not None


@pytest.mark.parametrize("host", [OWN, "localhost:7860", "LOCALHOST:7860", "[::1]:7860", "[0:0:0:0:0:0:0:1]:7860"])
@pytest.mark.parametrize("listens", ["127.0.0.1", "localhost", "::1"])
def test_a_loopback_page_is_called_by_three_names(host: str, listens: str) -> None:
    assert not refused(Hosts(listens, 7860), host=host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:7860", "a.localhost:7860", "localhost.:7860", "localhost.evil.example:7860", "127.0.0.1.nip.io:7860", "127.1:7860",
        "2130706433:7860", "0.0.0.0:7860", "[::]:7860", "[::ffff:127.0.0.1]:7860", "192.168.1.2:7860", "127.0.0.1", "localhost:80",
        "127.0.0.1:7861", "user@127.0.0.1:7860", "127.0.0.1:7860, evil.example", "127.0.0.1:7860:7860", " 127.0.0.1:7860", "",
        "[::1]x:7860", f"{socket.gethostname()}:7860", "１２７.0.0.1:7860",
    ],
)  # fmt: skip
def test_all_other_names_are_refused(host: str) -> None:
    assert refused(Hosts("127.0.0.1", 7860), host=host)


def test_no_host_is_refused() -> None:
    assert refused(Hosts("127.0.0.1", 7860))


def test_a_name_without_a_port_means_that_of_http() -> None:
    assert not refused(Hosts("127.0.0.1", 80), host="localhost")


def test_an_address_is_called_by_itself_alone() -> None:
    hosts = Hosts("192.168.1.2", 7860)
    assert not refused(hosts, host="192.168.1.2:7860")
    assert refused(hosts, host="localhost:7860")


def test_all_addresses_are_called_by_numbers_and_the_machines_name_but_not_by_others() -> None:
    for listens in ("0.0.0.0", "::"):
        hosts = Hosts(listens, 7860)
        for host in (OWN, "192.168.1.2:7860", "10.0.0.1:8080", "[fe80::1]:7860", f"{socket.gethostname()}:7860"):
            assert not refused(hosts, host=host)
        assert refused(hosts, host="evil.example:7860")


def test_further_names() -> None:
    hosts = Hosts("127.0.0.1", 7860, ["page.example", "localhost:9000"])
    for host in ("page.example", "page.example:8443", "localhost:9000", OWN):
        assert not refused(hosts, host=host)
    for host in ("www.page.example", "localhost:9001"):
        assert refused(hosts, host=host)
    assert not refused(hosts, host="page.example", origin="https://page.example")
    with pytest.raises(ValueError, match="--allow-host is 'a b', it must be a name, perhaps with a port"):
        Hosts("127.0.0.1", 7860, ["a b"])


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "http://localhost:7860"},
        {"origin": "http://127.0.0.1:7861"}, {"origin": "http://127.0.0.1"}, {"origin": "ftp://127.0.0.1:7860"},
        {"origin": "http://127.0.0.1:7860.evil.example"}, {"origin": "http://127.0.0.1:7860, http://evil.example"},
        {"origin": "file://"}, {"origin": "http://user@127.0.0.1:7860"}, {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"}, {"sec_fetch_site": "x"}, {"referer": "https://evil.example/a?http://127.0.0.1:7860/"},
        {"referer": "http://127.0.0.1:7861/"}, {"sec_fetch_site": "none", "referer": "http://evil.example"},
    ],
)  # fmt: skip
def test_other_pages_are_refused(headers: dict[str, str]) -> None:
    assert refused(Hosts("127.0.0.1", 7860), host=OWN, **headers)


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"origin": f"http://{OWN}"}, {"origin": f"http://{OWN}", "sec_fetch_site": "same-origin"}, {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"}, {"referer": f"http://{OWN}/"}, {"referer": f"http://{OWN}"},
    ],
)  # fmt: skip
def test_the_page_itself_and_programs_are_served(headers: dict[str, str]) -> None:
    assert not refused(Hosts("127.0.0.1", 7860), host=OWN, **headers)


def test_a_link_to_the_page_opens_it_and_nothing_else() -> None:
    hosts = Hosts("127.0.0.1", 7860)
    link = {"host": OWN, "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert not refused(hosts, "GET", "/", **link)
    assert refused(hosts, "POST", "/", **link)
    assert refused(hosts, "GET", "/config", **link)
    assert refused(hosts, "GET", "/", **{**link, "sec_fetch_dest": "iframe"})
    assert refused(hosts, "GET", "/", **{**link, "sec_fetch_mode": "no-cors"})


def test_a_refusal_is_one_line_without_control_characters() -> None:
    hosts = Hosts("127.0.0.1", 7860)
    for line in (
        hosts.refusal("GET", "/", {"host": "a\x1b[31m\nb" + "x" * 9999}),
        hosts.refusal("GET", "/", {"host": OWN, "origin": "a\x1b\n\u202e" + "x" * 9999}),
    ):
        assert line is not None
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 1000


def test_addresses() -> None:
    assert Address.of("[::1]") == Address("::1", None)
    assert Address.of("[zz]:1") is Address.of("::1") is Address.of("a/b") is Address.of("a:123456") is None
    assert [Address(host, 1).numeric for host in ("::1", "10.0.0.1", "a.b", "127.1")] == [True, True, False, False]
