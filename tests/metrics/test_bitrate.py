import json

import pytest

from vqkit.metrics import BitRate


def test_bits_over_seconds():
    rate = BitRate()
    rate.update(1000, 1.0)
    assert rate.compute().item() == 8.0
    rate.update(num_bytes=2000, seconds=9.0)
    assert rate.compute().item() == pytest.approx(8 * 3000 / 10 / 1000)  # not the mean of 8 and 1.78
    assert json.loads(json.dumps(rate.protocol))["unit"] == "kbit/s"


def test_sizes_are_exact_beyond_float32():
    rate = BitRate()
    for _ in range(3):
        rate.update(2**40 + 1, 1.0)
    assert rate.bitrate_bytes.item() == 3 * (2**40 + 1)


def test_refuses_wrong_files():
    rate = BitRate()
    with pytest.raises(TypeError, match=r"num_bytes must be an int, got 10\.0"):
        rate.update(10.0, 1.0)
    with pytest.raises(ValueError, match="num_bytes must not be negative, got -1"):
        rate.update(-1, 1.0)
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds must be positive and finite, got"):
            rate.update(10, seconds)
    with pytest.raises(ValueError, match="bitrate_kbps has seen no file: call update before compute"):
        rate.compute()
