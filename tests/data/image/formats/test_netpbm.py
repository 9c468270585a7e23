import numpy as np
import pytest

from vqkit.data import read_image, read_image_with_notes
from vqkit.data.image.formats.netpbm import is_netpbm

RANDOM = np.random.default_rng(0)


def check(path, truth, notes=()):
    found = read_image_with_notes(path, channels=None)
    truth = truth if truth.ndim == 3 else truth[..., None]
    np.testing.assert_allclose(found.image.permute(1, 2, 0), truth, atol=1e-6)
    assert found.notes == notes


@pytest.mark.parametrize("most", [1, 9, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("samples", [1, 3])
def test_any_greatest_value(tmp_path, most, samples):
    values = RANDOM.integers(0, most + 1, (7, 11, samples))
    values[0, 0], values[-1, -1] = 0, most
    head = f"# made by hand\n11 # wide\n7\r{most}\n".encode()
    raw, plain = (b"P5 ", b"P2 ") if samples == 1 else (b"P6\n", b"P3\t")
    (tmp_path / "x").write_bytes(raw + head + values.astype(">u2" if most > 255 else "u1").tobytes())
    check(tmp_path / "x", values / most)
    text = "# a comment\n" + "\n".join(map(str, values.reshape(-1).tolist())) + " # the end"
    (tmp_path / "x").write_bytes(plain + head + text.encode())
    check(tmp_path / "x", values / most)


def test_bits(tmp_path):
    ink = RANDOM.integers(0, 2, (5, 11))
    (tmp_path / "x").write_bytes(b"P4 11 5\n" + np.packbits(ink, axis=1).tobytes())
    check(tmp_path / "x", 1 - ink)
    (tmp_path / "x").write_bytes(b"P1\n11 5\n" + "\n".join("".join(map(str, row)) for row in ink.tolist()).encode())
    check(tmp_path / "x", 1 - ink)


def test_floats(tmp_path):
    values = RANDOM.random((5, 7)).astype("<f4")
    (tmp_path / "x.pfm").write_bytes(b"Pf\n7 5\n-1.0\n" + values[::-1].tobytes())
    check(tmp_path / "x.pfm", values)
    (tmp_path / "x.pfm").write_bytes(b"Pf\n7 5\n-1.0\n" + (values * 9)[::-1].tobytes())
    with pytest.raises(ValueError, match=r"cannot be read .* floats lie in .*, allowed is 0 … 1"):
        read_image(tmp_path / "x.pfm")


def test_several_images(tmp_path):
    one = b"P5 3 2 255\n" + bytes(range(6))
    (tmp_path / "x").write_bytes(one + one)
    note = ("the first of several images; the others are left out",)
    check(tmp_path / "x", np.arange(6).reshape(2, 3) / 255, note)
    (tmp_path / "x").write_bytes(one + b"\n")
    check(tmp_path / "x", np.arange(6).reshape(2, 3) / 255)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P5 3 2 255\n12345", "the file ends within its pixels"),
        (b"P6 3 2 65535\n" + bytes(35), "the file ends within its pixels"),
        (b"P4 9 2\n123", "the file ends within its pixels"),
        (b"P2 3 2 9\n1 2 3 4 5", "the file ends within its pixels"),
        (b"P1 3 2\n10101", "the file ends within its pixels"),
        (b"P2 2 1 9\n1 x", "is damaged or cut short"),
        (b"P2 2 1 9\n1 -1", "a value that is no number of 16 bits"),
        (b"P5 3", "is damaged or cut short"),
        (b"P5 2 1 0\n12", "its greatest value is 0, allowed are 1 to 65535"),
        (b"P5 2 1 70000\n1234", "its greatest value is 70000"),
        (b"P5 2 1 9\n\x01\x0a", "has a value of 10, and its greatest is 9"),
        (b"P5 90000 90000 255\n", "has 90000 × 90000 pixels, allowed"),
        (b"P2 0 7 255\n", "has 0 × 7 pixels, allowed"),
    ],
)
def test_damage(tmp_path, data, message):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=rf"^[^\n]*x [^\n]*{message}[^\n]*$"):
        read_image(tmp_path / "x")


def test_words_that_begin_alike():
    for head in (b"P1", b"P7 3", b"P5x3 2", b"P6 pins", b"P0 1 1", b"PK\3\4", b"P5 "):
        assert not is_netpbm(head)
    assert is_netpbm(b"P3# a comment\n 3")
