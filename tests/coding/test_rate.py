import pytest

from vqkit.coding import Rate


@pytest.mark.parametrize(
    ("rate", "stages"),
    [(Rate(), 4), (Rate(kbps=2.4), 1), (Rate(kbps=7.1), 2), (Rate(stages=3), 3), (Rate(max_bytes=5), 4)],
)
def test_stages(codec, rate, stages):
    assert codec.rates_kbps == (2.4, 4.8, 7.2, 9.6)
    assert rate.stages_of(codec) == stages


def test_what_cannot_be(codec):
    with pytest.raises(
        ValueError, match="only one of stages, max_bytes, and kbps or bpp can be given, got kbps and stages"
    ):
        Rate(kbps=3, stages=2)
    with pytest.raises(ValueError, match="stages is 0, it must be more than 0"):
        Rate(stages=0)
    with pytest.raises(ValueError, match="kbps is nan, it must be more than 0"):
        Rate(kbps=float("nan"))
    with pytest.raises(ValueError, match="stages is 5, this codec has 1 to 4"):
        Rate(stages=5).stages_of(codec)
    with pytest.raises(
        ValueError, match="kbps=2 is below the first stage; this codec has the rates 2.4, 4.8, 7.2, 9.6"
    ):
        Rate(kbps=2).stages_of(codec)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_rate_weight_is_a_price(weight):
    with pytest.raises(ValueError, match="rate_weight must be at least 0 and finite"):
        Rate(rate_weight=weight)


def test_a_rate_weight_goes_with_the_others(codec):
    assert Rate(kbps=7.1, rate_weight=0.1).stages_of(codec) == 2
    assert Rate(rate_weight=0).stages_of(codec) == 4
