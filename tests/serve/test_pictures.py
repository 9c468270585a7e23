"""What the pictures of one file's codes show, read back from what is drawn."""

import numpy as np
import pytest
import torch

from vqkit.metrics import CodebookUsage
from vqkit.serve import pictures


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    figures = []
    monkeypatch.setattr(pictures, "png_bytes", lambda figure, **_: figures.append(figure) or b"")
    return figures


def test_use_and_bits_are_drawn_each_in_its_own_panel(drawn):
    usage = CodebookUsage([8, 8, 4], codes_per_stage=[2, 1])
    usage.update(torch.tensor([[0, 0, 0], [1, 0, 1], [2, 0, 2], [3, 1, 3]]))
    pictures.usage_png(usage.compute(), (2, 1))
    used, bits = drawn[0].axes
    assert used.get_title(loc="left") == "codes used (%)"
    assert bits.get_title(loc="left") == "effective bits a code"
    # stage 1: 4 of 8 and 2 of 8 codes, 2 bits and H(1/4) bits; stage 2: all 4 codes, equally often
    shares, entropies = [100 * (4 + 2) / 16, 100.0], [(2 + 0.8112781) / 2, 2.0]
    assert [bar.get_height() for bar in used.patches] == pytest.approx(shares)
    assert [bar.get_height() for bar in bits.patches] == pytest.approx([3.0, 2.0, *entropies])  # the grey ones first
    for axes in (used, bits):
        assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches][:2] == pytest.approx([1, 2])
        assert axes.get_xlabel() == "stage"


def test_codes_are_drawn_over_time_a_row_a_code(drawn):
    codes = np.array([[0, 1, 2, 3], [3, -1, 0, 0], [1, 0, 1, 0]])
    pictures.codes_png(codes, (4, 4, 2), (2, 1), 0.08)
    (axes,) = drawn[0].axes
    (image,) = axes.images
    expected = np.array([[0, 1 / 3, 2 / 3, 1], [1, np.nan, 0, 0], [1, 0, 1, 0]])
    np.testing.assert_allclose(np.ma.filled(image.get_array().astype(float), np.nan), expected)
    assert tuple(image.get_extent()) == (0, 0.08, 3, 0)  # time to the right, the first code at the top
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2"]
    assert list(axes.get_yticks()) == [1.0, 2.5]
