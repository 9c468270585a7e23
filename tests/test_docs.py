"""Every ```python block of README.md, CONTRIBUTING.md and docs/*.md runs, in order, in one namespace a page; output that is shown is true.

A ```text block directly below a python block is its output. The words and the whole numbers must be the same; numbers with a decimal
point may differ by what the page states in ``<!-- tolerance: 2 % -->`` anywhere, and not at all without that.
``<!-- no-test -->`` above a block skips it.
"""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if "```python" in path.read_text("utf-8")
]
FENCE = re.compile(r"(<!-- no-test -->\s*)?^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOLERANCE = re.compile(r"<!-- tolerance: ([\d.]+) % -->")
NUMBER = re.compile(r"(?<![\w.])[+\-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")


def blocks(text: str) -> list[tuple[str, str, int]]:
    """(code, output shown below it or "", line) of each python block to run."""
    found = list(FENCE.finditer(text))
    runs = []
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block[2] != "python" or block[1]:
            continue
        follows = after is not None and after[2] == "text" and not text[block.end() : after.start()].strip()
        runs.append((block[3], after[3] if follows and after else "", text.count("\n", 0, block.start(3))))
    return runs


def compare(shown: str, printed: str, percent: float) -> None:
    """The words are equal, spaces aside, and each number is within the tolerance."""
    shape = [" ".join(NUMBER.sub("#", text).replace("-", "").split()) for text in (shown, printed)]
    assert shape[0] == shape[1], f"the page shows\n{shown}\nand the code prints\n{printed}"
    numbers = [[float(n.replace(",", "").replace("−", "-")) for n in NUMBER.findall(text)] for text in (shown, printed)]
    whole = ["." not in n for n in NUMBER.findall(shown)]
    for expected, value, exact in zip(*numbers, whole, strict=True):
        message = f"the page shows {expected}, the code prints {value}, allowed {percent} %:\n{printed}"
        assert value == pytest.approx(expected, rel=0 if exact else percent / 100, abs=0), message


@pytest.fixture
def same_threads():
    """A page may choose its number of threads, for itself only."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_page(page, tmp_path, monkeypatch, capsys, same_threads):
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    found = TOLERANCE.search(text)
    namespace: dict = {"__name__": "__main__"}
    for code, shown, line in blocks(text):
        capsys.readouterr()
        exec(compile("\n" * line + code, str(page), "exec"), namespace)
        if shown:
            compare(shown, capsys.readouterr().out, float(found[1]) if found else 0.0)


def test_the_reader_of_pages():
    text = "a\n```python\nx = 1\n```\n\n```text\n1\n```\n<!-- no-test -->\n```python\nboom\n```\n"
    text += "```bash\nls\n```\n```python\nx\n```\nb\n```text\n2\n```\n"
    assert blocks(text) == [("x = 1\n", "1\n", 2), ("x\n", "", 16)]


def test_outputs_are_compared():
    compare("D = 1,000.0 dB,  −2.00\n", "D = 1009.0 dB, -1.99", 1)
    with pytest.raises(AssertionError, match=r"the page shows 1000.0, the code prints 1011.0, allowed 1.0 %"):
        compare("D = 1,000.0", "D = 1011.0", 1.0)
    with pytest.raises(AssertionError, match=r"the page shows 1000.0, the code prints 1001.0"):
        compare("1,000 frames", "1001 frames", 1.0)
    with pytest.raises(AssertionError, match="and the code prints"):
        compare("D = 1", "E = 1", 1)
    with pytest.raises(AssertionError, match="the page shows 1.0, the code prints -1.0"):
        compare("D = 1.0", "D = -1.0", 50)
