import pytest

from vqkit import RVQ, VQ, Residual
from vqkit.compare.expression import constructor


def test_expressions():
    assert isinstance(constructor("RVQ(dim, codebook_size=64, num_quantizers=4)")(128), RVQ)
    nested = constructor("Residual([VQ(dim, 2 ** 6), FSQ(dim, [5, 5, 5]), Product.shared(VQ(dim // 4, 16), 4)])")(24)
    assert isinstance(nested, Residual)
    assert nested.code_sizes == (64, 125, 16, 16, 16, 16)
    assert constructor("IVQ(dim, structure_weight=(0, 0.1, -0))")(24).structure_weights["cuo"] == 0.1
    assert isinstance(constructor("vqkit.quantize.vq.VQ(dim, 4)")(8), VQ)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RVQ(dim", "not an expression"),
        ("RVQ(dim, 64)", "missing 1 required positional argument: 'num_quantizers'"),
        ("RVQ(dim, 64, 4, rate=3)", "unexpected keyword argument 'rate'"),
        ("RVG(dim, 64, 4)", "unknown quantizer 'RVG'; known: FSQ, IVQ, LFQ, PVQ, RVQ, VQ"),
        ("os.system('true')", "unknown quantizer 'os.system'"),
        ("__import__('os')", "unknown quantizer '__import__'"),
        ("VQ.from_pretrained('x')", "unknown quantizer 'VQ.from_pretrained'"),
        ("[VQ(dim, 4)]", "is no quantizer but list"),
        ("VQ(dim, 4).fit", "may not stand in an expression"),
        ("VQ(dim, x)", "'x' may not stand in an expression"),
        ("IVQ(dim + 1)", "dim must be a multiple of lines = 6"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(ValueError, match=message):
        constructor(text)(24)
