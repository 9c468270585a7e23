import sys
from pathlib import Path

import pytest
import torch

from vqkit import IVQ, RVQ, VQ, Residual, quantize
from vqkit.compare.command import parse
from vqkit.compare.expression import constructor


def test_expressions():
    assert isinstance(constructor("RVQ(dim, codebook_size=64, num_quantizers=4)")(128), RVQ)
    nested = constructor("Residual([VQ(dim, 2 ** 6), FSQ(dim, [5, 5, 5]), Product.shared(VQ(dim // 4, 16), 4)])")(24)
    assert isinstance(nested, Residual)
    assert nested.code_sizes == (64, 125, 16, 16, 16, 16)
    assert constructor("IVQ(dim, structure_weight=(0, 0.1, -0))")(24).structure_weights["cuo"] == 0.1
    assert isinstance(constructor("vqkit.quantize.vq.VQ(dim, 4)")(8), VQ)
    assert isinstance(constructor("IVQ.paper(dim)")(24), IVQ)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2 ** 6", 64),
        ("2 ** 3 ** 2", 512),
        ("7 // 2 - -1 * 3 + 1", 7),
        ("(-2) ** 4", 16),
        ("dim * 3 - dim", 16),
        ("2 ** 20 // 2 ** 18 ** 1", 4),
    ],
)
def test_arithmetic(text, size):
    assert constructor(f"VQ(dim, {text})")(8).code_sizes == (size,)


def test_lists_can_be_repeated_and_joined():
    assert constructor("FSQ(dim, [5] * 3 + [3, 7])")(24).code_sizes == (5**3 * 3 * 7,)
    assert constructor("FSQ(dim, 2 * [5])")(24).code_sizes == (25,)


def test_a_new_quantizer_draws_as_its_class_does():
    torch.manual_seed(0)
    plain = RVQ(8, 16, 2)
    torch.manual_seed(0)
    built = constructor("RVQ(dim, 16, 2)")(8)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), built.parameters(), strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RVQ(dim", "not an expression"),
        ("RVQ(dim, 64)", "missing 1 required positional argument: 'num_quantizers'"),
        ("RVQ(dim, 64, 4, rate=3)", "unexpected keyword argument 'rate'"),
        ("RVG(dim, 64, 4)", "unknown quantizer 'RVG'; known: BSQ, FSQ, IVQ, LFQ, PVQ, RVQ, VQ, Bands"),
        ("usage_advice(dim)", "unknown quantizer 'usage_advice'"),
        ("os.system('true')", "unknown quantizer 'os.system'"),
        ("__import__('os')", "unknown quantizer '__import__'"),
        ("VQ.from_pretrained('x')", "unknown quantizer 'VQ.from_pretrained'"),
        ("[VQ(dim, 4)]", "is no quantizer but list"),
        ("VQ(dim, 4).fit", "may not stand in an expression"),
        ("VQ(dim, x)", "'x' may not stand in an expression"),
        ("VQ(dim, 1j)", "'1j' may not stand in an expression"),
        ("VQ(dim, b'x')", "may not stand in an expression"),
        ("VQ(dim, f'{dim}')", "may not stand in an expression"),
        ("VQ(dim, **{'codebook_size': 4})", "may not stand in an expression"),
        ("VQ(dim, 4, **dim)", "may not stand in an expression"),
        ("VQ(*[dim, 4])", r"'\*\[dim, 4\]' may not stand in an expression"),
        ("(lambda: 1)()", "'lambda: 1' may not be called in an expression"),
        ("VQ(dim, 4).fit(1)", r"'VQ\(dim, 4\)' may not be called in an expression"),
        ("IVQ(dim + 1)", "^dim must be a multiple of lines = 6"),
        ("Residual([1])", r"^Residual\(\[1\]\): 'int' object has no attribute 'dim'"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(ValueError, match=message):
        constructor(text)(24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("VQ(dim, 9**9**9)", r"numbers must be finite and below 2\^31, got 9 \*\* 387420489"),
        ("VQ(dim, 10**12)", r"numbers must be finite and below 2\^31, got 10 \*\* 12"),
        ("VQ(dim, 2**31)", r"got 2147483648"),
        ("VQ(dim, 65536 * 65536)", r"got 4294967296"),
        ("VQ(dim, 2147483647 + 1)", r"got 2147483648"),
        ("VQ(dim, -2147483647 - 1)", r"got -2147483648"),
        ("VQ(dim, " + "9" * 4000 + ")", r"got 13288 bits"),
        ("VQ(dim, 4, decay=1e999)", r"numbers must be finite and below 2\^31, got inf"),
        ("VQ(dim, 4, decay=1e300 * 1e300)", r"got 1e\+300"),
        ("VQ(dim, 4, decay=2.5 ** 1e9)", r"got 2.5 \*\* 1000000000.0"),
        ("VQ(dim, 1//0)", "1 // 0: integer division or modulo by zero"),
        ("VQ(dim, 0**-1)", r"0 \*\* -1: "),
        ("VQ(dim, (-8)**0.5)", r"-8 \*\* 0.5 is no real number"),
        ("VQ(dim, 'a' * 10**9)", "arithmetic takes numbers, got 'a'"),
        ("VQ(dim, -'a')", "arithmetic takes numbers, got 'a'"),
        ("VQ(dim, [1] ** 2)", r"arithmetic takes numbers, got \[1\]"),
        ("FSQ(dim, [5] * 10**9)", "lists may have 4096 items, got 1000000000"),
        ("FSQ(dim, [5] * 4096 + [5])", "lists may have 4096 items, got 4097"),
        ("FSQ(dim, [5] + 5)", r"\[5\] and 5: can only concatenate list"),
        (
            "VQ(dim, 10**9)",
            "more than the 268435456 values that are allowed, 24000000000 so far; --max_floats allows more",
        ),
        ("RVQ(dim, 2**16, 10**3)", "more than the 268435456 values that are allowed, .* --max_floats allows more"),
        ("RVQ(1, 2, 10**9)", "it takes more than 8192 steps to build: too many parts"),
        ("Product.shared(VQ(1, 4), 10**9)", "Product has 1000000000 codes a vector, allowed are 65536"),
        ("LooC(10**9, 4, 1)", "LooC has 1000000000 codes a vector, allowed are 65536"),
        ("(" * 300 + "1" + ")" * 300, "not an expression"),
        ("-" * 9000 + "1", "not an expression|more than 50 parts within each other"),
        ("+".join(["1"] * 3000), "not an expression|more than 50 parts within each other"),
        ("VQ(dim, " + "[" * 90 + "]" * 90 + ")", "more than 50 parts within each other"),
        ("VQ" + ".a" * 4000 + "(dim)", "not an expression|unknown quantizer"),
        ("VQ(dim, 4)" + " " * 10_000 + "+ 1", "not an expression"),
        ("VQ\0(dim, 4)", "not an expression"),
    ],
)
def test_what_is_too_large_ends_at_once_in_one_line(text, message, bounded):
    with bounded(seconds=4, megabytes=256), pytest.raises(ValueError, match=message) as caught:
        constructor(text)(24)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_more_floats_are_allowed_on_request():
    make = constructor("VQ(dim, 64)", max_floats=2000)
    assert make(8).codebook_numel == 512
    with pytest.raises(ValueError, match="more than the 2000 values"):
        make(64)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the quantizer of CONTRIBUTING; importing it leaves a trace."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "strangers").mkdir()
    (tmp_path / "strangers" / "__init__.py").write_text("")
    (tmp_path / "strangers" / "own.py").write_text("import pathlib\npathlib.Path('ran').touch()\n" + code)
    (tmp_path / "strangersome.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("strangers", "strangers.own"):
        sys.modules.pop(name, None)


def test_a_module_is_imported_only_if_that_is_allowed(package):
    text = "strangers.own.Uniform(dim, step=0.25)"
    refused = "naming strangers.own.Uniform would import strangers.own, which runs its code; allow that with --import_from strangers"
    with pytest.raises(ValueError, match=refused):
        constructor(text)(6)
    with pytest.raises(ValueError, match=refused):
        constructor(text, import_from=["strange", "strangers.other", "own"])(6)
    assert not (package / "ran").exists()
    with pytest.raises(ValueError, match="naming strangersome.Own would import strangersome"):
        constructor("strangersome.Own(dim)", import_from=["strangers"])(6)
    quantizer = constructor(text, import_from=["strangers"])(6)
    assert (package / "ran").exists()
    assert (type(quantizer).__name__, quantizer.step, quantizer.num_codes) == ("Uniform", 0.25, 6)
    assert type(constructor(text)(6)) is type(quantizer)  # it is imported already: nothing runs
    with pytest.raises(ValueError, match="cannot import strangers.none: No module named"):
        constructor("strangers.none.Own(dim)", import_from=["strangers"])(6)
    with pytest.raises(ValueError, match="unknown quantizer 'strangers.own.torch'"):
        constructor("strangers.own.torch(dim)")(6)


def test_modules_that_import_on_demand_are_not_asked(package):
    sys.modules["strangers"] = type(sys)("strangers")
    sys.modules["strangers"].__getattr__ = lambda name: pytest.fail("asked")
    with pytest.raises(ValueError, match="unknown quantizer 'strangers.Own'"):
        constructor("strangers.Own(dim)")(6)


def test_the_command_line_allows_it(package):
    words = ["mine = strangers.own.Uniform(dim)", "--backbone", "frames", "--backbone.hop_samples", "24"]
    what, _ = parse([*words])
    with pytest.raises(ValueError, match="would import strangers.own"):
        what.quantizer("mine")
    what, _ = parse([*words, "--import_from", "another", "strangers"])
    assert what.quantizer("mine").dim == what.backbone.dim
    what, _ = parse(["VQ(dim, 64)", "--max_floats", "1000"])
    with pytest.raises(ValueError, match="more than the 1000 values"):
        what.quantizer("VQ(dim, 64)")


def test_a_recipe_can_allow_it(package):
    (package / "r.yaml").write_text("systems: {mine: strangers.own.Uniform(dim)}\nimport_from: [strangers]\n")
    assert parse(["--config", "r.yaml"])[0].quantizer("mine").num_codes


EVERY = {
    "BSQ": "BSQ(dim, 8)",
    "Bands": "Bands([VQ(dim // 2, 8), RVQ(dim // 2, 8, 2)])",
    "BlockTruncation": "BlockTruncation(dim // 3, 3)",
    "FSQ": "FSQ(dim, [5, 5], bound='clamp')",
    "GainShape": "GainShape(VQ(1, 8), RVQ(dim, 8, 2))",
    "GroupedRVQ": "GroupedRVQ(dim, 8, 2, 2)",
    "IVQ": "IVQ(dim, variant='bottom-up')",
    "Interpolated": "Interpolated(VQ(dim, 8), scale=2, spatial_dims=1)",
    "LFQ": "LFQ(dim, 8)",
    "LloydMax": "LloydMax(dim, 2)",
    "LooC": "LooC(dim, 8, 4)",
    "Multiscale": "Multiscale([VQ(dim, 8), VQ(dim, 8)], sizes=(1, 2))",
    "PVQ": "PVQ(dim, 8, 4)",
    "Product": "Product.shared(VQ(dim // 4, 8), 4)",
    "Projected": "Projected(dim, VQ(4, 8), bound='sphere')",
    "QINCo": "QINCo(dim, 8, 2, hidden=8)",
    "RVQ": "RVQ(dim, [8, 4], 2, beam=2)",
    "RandomProjection": "RandomProjection(dim, 8, code_dim=4)",
    "Residual": "Residual.shared(VQ(dim, 8), 3)",
    "ResidualFSQ": "ResidualFSQ(dim, [5, 5], 2)",
    "ResidualLFQ": "ResidualLFQ(dim, 4, 2)",
    "Rotated": "Rotated(PVQ(dim, 8, 4), method='balanced')",
    "SimVQ": "SimVQ(dim, 8)",
    "Stepped": "Stepped(FSQ(dim, [9] * 4, bound='clamp', scale=4.5), steps=[0.5, 1.0])",
    "SteppedFSQ": "SteppedFSQ([[[[3] * 12], [[9, 9, 9], [9, 9, 9], [9, 9, 9], [9, 9, 9]]], [[[5] * 12]]], steps=[0.5, 1.0])",
    "Sum": "Sum(dim, [VQ(8, 8), RVQ(8, 8, 2)])",
    "System": "System(VQ(dim, 8))",
    "TurboQuant": "TurboQuant(dim, 2)",
    "VQ": "VQ(dim, 8, gradient='diveq', assignment='balanced', unit=True)",
}


def test_every_quantizer_is_an_expression_and_cites_where_it_comes_from():
    public = {
        name
        for name in quantize.__all__
        if isinstance(getattr(quantize, name), type) and issubclass(getattr(quantize, name), quantize.Quantizer)
    }
    assert set(EVERY) == public - {"Quantizer"}
    for name, expression in EVERY.items():
        quantizer = constructor(expression)(24).eval()
        assert type(quantizer).__name__ == name
        assert quantizer.encode(torch.zeros(1, 4, 24)).shape == (1, 4, quantizer.num_codes)
        if name != "System":  # which only holds others
            assert "References:" in (type(quantizer).__doc__ or ""), name
