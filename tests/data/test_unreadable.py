import pytest

from vqkit.data.unreadable import named, readable


def read(number):
    if number % 2:
        raise (OSError if number == 1 else ValueError)(f"{number}.wav is odd")
    return number * 10


def test_what_cannot_be_read_is_named_and_the_rest_goes_on():
    with pytest.warns(UserWarning, match="skipped") as caught:
        assert list(readable(range(5), lambda number: f"{number}.wav", read)) == [(0, 0), (2, 20), (4, 40)]
    assert [str(warning.message) for warning in caught] == ["skipped 1.wav: is odd", "skipped 3.wav: is odd"]
    assert list(readable([], str, read)) == []


def test_none_is_an_error_and_other_errors_are_not_caught():
    with (
        pytest.warns(UserWarning, match="skipped [13].wav"),
        pytest.raises(
            ValueError, match=r"no clip can be used, skipped 2 of 2 clips: 1.wav \(is odd\); 3.wav \(is odd\)$"
        ),
    ):
        list(readable([1, 3], lambda number: f"{number}.wav", read))
    with pytest.raises(TypeError):
        list(readable(["x"], str, read))
    for _, found in readable([2], str, read):  # what the caller raises is the caller's
        with pytest.raises(ValueError, match="mine"):
            raise ValueError(f"mine {found}")


def test_a_long_list_names_the_first():
    text = named({f"{index}.wav": "is empty" for index in range(7)}, 9)
    assert text.startswith("7 of 9 clips: 0.wav (is empty); 1.wav (is empty); ")
    assert text.endswith("4.wav (is empty); …")
