"""SECURITY.md: every test that it names exists, and every promise names one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), f"{path} has no {name}"


def test_every_promise_names_a_test() -> None:
    promises = TEXT.partition("## What is promised")[2].partition("## What is not promised")[0].split("\n- ")[1:]
    assert len(promises) >= 15
    for promise in promises:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", promise), promise


def test_commands_and_flags_that_it_names_exist() -> None:
    flags = set(re.findall(r"`(--[\w-]+)", TEXT))
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert {flag for flag in flags if flag not in source and flag.lstrip("-") not in source} == set()
