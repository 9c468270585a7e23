"""Bands: each segment of the vector is a stage of its own."""

import pytest
import torch

from vqkit import FSQ, RVQ, VQ, Bands, Interpolated


def grid(dim: int) -> FSQ:
    """Whole numbers from −2 to 2."""
    return FSQ(dim, [5] * dim, scale=2.5, bound="clamp")


def test_codes_and_values_by_hand():
    q = Bands([grid(1), grid(2)]).eval()
    z = torch.tensor([[[1.2, -2.4, 0.3]]])
    codes = q.encode(z)
    assert codes.tolist() == [
        [[3, 0 + 5 * 2]]
    ]  # 1 is level 3; −2 and 0 are levels 0 and 2, the first least significant
    torch.testing.assert_close(q.decode(codes), torch.tensor([[[1.0, -2.0, 0.0]]]))
    torch.testing.assert_close(q.decode(codes, stages=1), torch.tensor([[[1.0, 0.0, 0.0]]]))
    torch.testing.assert_close(q.decode(codes[..., :1]), torch.tensor([[[1.0, 0.0, 0.0]]]))


def test_a_band_with_stages_is_one_stage():
    q = Bands([RVQ(4, 8, 3), VQ(2, 4)]).eval()
    assert q.codes_per_stage == (3, 1)
    z = torch.randn(2, 5, 6)
    codes = q.encode(z)
    assert torch.equal(q.decode(codes)[..., :4], q.bands[0].decode(codes[..., :3]))
    assert torch.equal(q.decode(codes)[..., 4:], q.bands[1].decode(codes[..., 3:]))


def test_losses_count_by_the_share_of_the_vector():
    torch.manual_seed(0)
    first, second = VQ(6, 8), VQ(2, 8)
    z = torch.randn(2, 5, 8)
    q = Bands([first, second]).eval()
    expected = 0.75 * first(z[..., :6]).losses["commitment"] + 0.25 * second(z[..., 6:]).losses["commitment"]
    torch.testing.assert_close(q(z).losses["commitment"], expected)


def test_what_it_refuses():
    one = VQ(2, 4)
    with pytest.raises(ValueError, match="different quantizers, at least one; got 2"):
        Bands([one, one])
    with pytest.raises(ValueError, match="at least one; got 0"):
        Bands([])
    with pytest.raises(ValueError, match="put Interpolated around it"):
        Bands([Interpolated(VQ(2, 4), spatial_dims=2)])
