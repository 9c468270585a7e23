"""Files of a model from elsewhere: bounded reading, and what is refused before anything is built."""

import json
import re
import struct
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import safetensors.torch
import torch
from torch import nn

from vqkit import VQ, Quantizer
from vqkit.saved import (
    built_for,
    built_from,
    check_arguments,
    check_described,
    one_line,
    read_config,
    read_shapes,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must hold an object, got list"),
        ("{", "is not JSON: Expecting property name"),
        ('{"a": NaN}', "numbers must be finite and below 2^31, got NaN"),
        ('{"a": [-Infinity]}', "got -Infinity"),
        ('{"a": 1e999}', "got 1e999"),
        ('{"a": 2147483648}', "got 2147483648"),
        ('{"a": -1000000000000}', "got -1000000000000"),
        ('{"a": ' + "9" * 100_000 + "}", "got 9999999999"),
        ('{"a":' * 65 + "1" + "}" * 65, "more than 64 objects and lists within each other"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "more than 64 objects and lists within each other"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "too long for the config of a model: more than 1048576 bytes"),
        (b"\xff\xfe", "is not JSON: not text in UTF-8"),
    ],
)
def test_configs_are_bounded(tmp_path, bounded, text, message):
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with bounded(seconds=2, megabytes=64), pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_config(path)
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_config_keeps_its_numbers(tmp_path):
    config = {"a": 2147483647, "b": -2147483647, "c": 0.25, "d": [1e-300, True, None, "x"], "e": {"f": []}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = read_config(tmp_path / "config.json")
    assert read == config
    assert [type(value) for value in read.values()] == [type(value) for value in config.values()]


def test_messages_are_one_printable_line():
    assert one_line("a\n  b\x1b[31m") == "a b\\x1b[31m"
    assert one_line("x" * 50, 10) == "xxxxxxxxx…"


class Layers(nn.Module):
    def __init__(
        self,
        width: int = 2,
        rate: float = 1.0,
        causal: bool = False,
        name: str = "",
        sizes: Sequence[int] = (),
        pair: tuple[float, float] = (0, 0),
        more: "int | None" = None,
        kind: Literal["a", "b"] = "a",
        layers: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 3)
        self.register_buffer("count", torch.tensor(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": "8"}, "width of Layers must be int, got '8'"),
        ({"width": 1.5}, "width of Layers must be int, got 1.5"),
        ({"width": None}, "width of Layers must be int, got None"),
        ({"rate": "1"}, "rate of Layers must be float, got '1'"),
        ({"causal": "false"}, "causal of Layers must be bool, got 'false'"),
        ({"causal": 2}, "causal of Layers must be bool, got 2"),
        ({"name": 3}, "name of Layers must be str, got 3"),
        ({"sizes": 3}, "sizes of Layers must be .*Sequence.int., got 3"),
        ({"sizes": [1, "2"]}, r"sizes of Layers must be .*, got \[1, '2'\]"),
        ({"pair": [1.0, 2.0, 3.0]}, r"pair of Layers must be tuple.float, float., got \[1.0, 2.0, 3.0\]"),
        ({"more": []}, r"more of Layers must be int \| None, got \[\]"),
        ({"kind": "c"}, "kind of Layers must be .*Literal.*, got 'c'"),
        ({"layers": [1]}, r"layers of Layers must be dict.*, got \[1\]"),
    ],
)
def test_arguments_of_another_type_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_arguments(Layers, arguments)


def test_arguments_of_the_right_type_pass():
    check_arguments(Layers, {"width": 8, "rate": 1, "causal": True, "name": "x", "sizes": [1, 2], "pair": [1, 0.5]})
    check_arguments(Layers, {"more": None, "kind": "b", "layers": {"a": 1}, "unknown": object(), "causal": 0})


def header_of(path):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(path, header, data, length=None):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


@pytest.fixture
def weights(tmp_path):
    safetensors.torch.save_file(
        {"linear.weight": torch.ones(3, 2), "linear.bias": torch.zeros(3), "count": torch.tensor(5)},
        tmp_path / "model.safetensors",
    )
    return tmp_path / "model.safetensors"


def test_shapes_are_read_from_the_header(weights):
    assert read_shapes(weights) == {
        "linear.weight": ("F32", (3, 2)),
        "linear.bias": ("F32", (3,)),
        "count": ("I64", ()),
    }


def test_damaged_weights_are_refused(weights, bounded):
    header, data = header_of(weights)
    first, second = sorted(header, key=lambda name: header[name]["data_offsets"])[:2]

    def changed(name, **values):
        return {**header, name: {**header[name], **values}}

    overlapping = changed(second, data_offsets=header[first]["data_offsets"])
    cases = {
        "not a whole safetensors file": [
            (header, data[:-1], None),  # truncated
            (header, data + b"0", None),
            (overlapping, data, None),
            (changed(first, shape=[2**40]), data, None),
            (changed(first, shape=[2**63, 2**63]), data, None),
            (changed(first, shape=[-1]), data, None),
            (changed(first, dtype="F99"), data, None),
            (header, data, 1 << 20),  # the header would end behind the file
            ([], data, None),
        ],
        "has a header of 9223372036854775807 bytes, allowed are 16777216": [(header, data, (1 << 63) - 1)],
        "has a header of 16777217 bytes": [(header, data, (1 << 24) + 1)],
    }
    for message, files in cases.items():
        for case in files:
            write(weights, *case)
            with bounded(seconds=2, megabytes=64), pytest.raises(ValueError, match=message) as caught:
                read_shapes(weights)
            assert "\n" not in str(caught.value)
    weights.write_bytes(b"")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_shapes(weights)
    weights.write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000)
    with bounded(seconds=2, megabytes=64), pytest.raises(ValueError, match="not a whole safetensors file"):
        read_shapes(weights)


def test_weights_fill_the_model_they_are_of(weights):
    model = built_for(weights.parent, Layers)
    assert torch.equal(model.linear.weight, torch.ones(3, 2))
    assert int(model.count) == 5


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            torch.ones(3, 4),
            r"do not fit its config: linear.weight has shape \[3, 4\] in the file, \[3, 2\] by the config",
        ),
        (torch.ones(3, 2).long(), "do not fit its config: linear.weight is I64 in the file, float32 by the config"),
        (torch.tensor([[1, 2], [3, torch.nan], [5, 6]]), r"model\.safetensors: linear.weight holds NaN or Inf"),
        (torch.tensor([[1, 2], [3, -torch.inf], [5, 6]]), r"model\.safetensors: linear.weight holds NaN or Inf"),
        (torch.full((3, 2), 1e300, dtype=torch.float64), r"model\.safetensors: linear.weight holds NaN or Inf"),
    ],
)
def test_weights_of_another_kind_are_refused_by_name(weights, tensor, message):
    state = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({**state, "linear.weight": tensor}, weights)
    with pytest.raises(ValueError, match=message):
        built_for(weights.parent, Layers)


def test_a_shape_is_compared_before_memory_is_taken(weights, bounded):
    with (
        bounded(megabytes=64),
        pytest.raises(ValueError, match=r"has shape \[3, 2\] in the file, \[3, 20000000\] by the"),
    ):
        built_for(weights.parent, lambda: Layers(20_000_000))


def test_a_tensor_that_the_file_lacks_is_named_by_torch(weights):
    class More(Layers):
        def __init__(self) -> None:
            super().__init__()
            self.extra = nn.Linear(2, 2)

    with pytest.raises(ValueError, match="do not fit its config: .*Missing key.*extra.weight"):
        built_for(weights.parent, More)


def test_a_file_of_another_name_is_named(weights):
    other = weights.rename(weights.with_name("trunk.safetensors"))
    with pytest.raises(ValueError, match=r"the weights in .*trunk\.safetensors do not fit its config: linear.weight"):
        built_from(other, lambda: Layers(3))


def test_whatever_a_constructor_raises_is_one_line_that_names_the_config(weights):
    for error in (TypeError("a\nb"), ZeroDivisionError("c"), OverflowError(), KeyError("d")):

        def make(error=error):
            raise error

        with pytest.raises(ValueError, match=r"config\.json: (a b|c|OverflowError|'d')$") as caught:
            built_for(weights.parent, make)
        assert caught.value.__cause__ is error


class Measured(VQ):
    """Looks at values in its constructor, which the meta device cannot give."""

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__(dim, codebook_size)
        self.start = float(torch.arange(3.0).sum())


def test_a_quantizer_of_ones_own_that_looks_at_values_is_loaded_all_the_same(tmp_path, bounded):
    own = Measured(4, 8)
    own.save_pretrained(tmp_path)
    back = Quantizer.from_pretrained(tmp_path)
    assert type(back) is Measured
    assert back.start == 3
    assert torch.equal(back.codebook.weight, own.codebook.weight)
    config = json.loads((tmp_path / "config.json").read_text())
    config["arguments"]["codebook_size"] = 1 << 27
    (tmp_path / "config.json").write_text(json.dumps(config))
    with bounded(megabytes=64), pytest.raises(ValueError, match="it needs more than the 268435784 values"):
        Quantizer.from_pretrained(tmp_path)


def test_a_config_for_another_library_is_tried_on_the_meta_device(weights, bounded):
    (weights.parent / "config.json").write_text('{"width": 3}')
    made = []

    def make(config):
        made.append(nn.Linear(config["width"], 2))
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_described(weights.parent / "config.json", weights, make)
    assert made[0].weight.device.type == "meta"
    (weights.parent / "config.json").write_text('{"width": 1000000000}')
    with (
        bounded(megabytes=64),
        pytest.raises(ValueError, match=r"config\.json: it needs more than the 268435536 values"),
    ):
        check_described(weights.parent / "config.json", weights, make)
    (weights.parent / "config.json").write_text('{"width": "3"}')
    with pytest.raises(ValueError, match=r"config\.json: "):
        check_described(weights.parent / "config.json", weights, make)
