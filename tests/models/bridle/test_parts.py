"""Masks, windows, patches and drop path against what is worked out by hand."""

import pytest
import torch

from vqkit.models.bridle.masking import random_mask, tube_mask
from vqkit.models.bridle.patches import ConvStem, normalised_patches, patchify
from vqkit.models.bridle.stack import Blocks, Stack, init_weights
from vqkit.models.bridle.windows import Windows


def test_random_masks_keep_their_share_and_differ():
    torch.manual_seed(0)
    mask = random_mask(50, 256, 0.8)
    assert mask.kept.shape == (50, 51)  # ⌊0.2 · 256⌋
    both = torch.cat([mask.kept, mask.hidden], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(256).expand(50, -1))
    assert torch.equal(mask.kept, mask.kept.sort(dim=1).values)
    assert len(mask.kept.unique(dim=0)) == 50
    # every place is hidden four times of five
    assert abs(torch.zeros(256).index_add(0, mask.hidden.flatten(), torch.ones(50 * 205)).mean() - 40) < 0.5
    with pytest.raises(ValueError, match="a ratio between 0 and 1 and at least 2 places, got 1.0 and 10"):
        random_mask(1, 10, 1.0)


def test_tubes_hide_the_same_places_at_every_time():
    torch.manual_seed(0)
    mask = tube_mask(3, (8, 14, 14), 0.9)
    assert mask.kept.shape == (3, 8 * 19)
    times = mask.kept.reshape(3, 8, 19)
    assert torch.equal(times % 196, (times[:, :1] % 196).expand(-1, 8, -1))
    assert torch.equal(times // 196, torch.arange(8)[None, :, None].expand(3, 8, 19))


def test_patches_are_boxes_in_order():
    x = torch.arange(2 * 4 * 4 * 6.0).reshape(1, 2, 4, 4, 6)
    patches = patchify(x, (2, 2, 3))
    assert patches.shape == (1, 8, 24)
    assert torch.equal(patches[0, 5], x[0, :, 2:4, 0:2, 3:6].flatten())
    normal = normalised_patches(patches)
    torch.testing.assert_close(normal.mean(-1), torch.zeros(1, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var(-1), torch.ones(1, 8), atol=1e-3, rtol=0)


def test_a_stem_does_not_look_beyond_its_patch():
    torch.manual_seed(0)
    stem = ConvStem(1, (8, 8), 12, 4)
    patches = torch.randn(1, 3, 64)
    changed = patches.clone()
    changed[0, 1] += 1
    same = (stem(patches) - stem(changed)).abs().amax(-1)[0] == 0
    assert same.tolist() == [True, False, True]
    with pytest.raises(ValueError, match="height and width are multiples of 4, got \\(6, 8\\)"):
        ConvStem(1, (6, 8), 12, 4)


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_see_what_they_should(shifted):
    """Which tokens a token depends on, found out by gradients."""
    torch.manual_seed(0)
    blocks = Blocks(Stack(8, 1, 2), video=False)
    init_weights(blocks)
    windows = Windows((4, 2))
    tokens = torch.randn(1, 12 * 4, 8, requires_grad=True)
    out = windows(blocks.layers[0], tokens, (12, 4), shifted=shifted)
    for place in (0, 21, 46, 47):
        row, column = divmod(place, 4)
        (gradient,) = torch.autograd.grad(out[0, place].square().sum(), tokens, retain_graph=True)
        seen = gradient[0].abs().amax(-1).reshape(12, 4) > 0
        offset = 2 if shifted else 0
        expected = torch.zeros(12, 4, dtype=torch.bool)
        window = (row - offset) // 4
        rows = [r for r in range(12) if (r - offset) // 4 == window]  # −1 are the first rows: they are alone
        expected[rows, column // 2 * 2 : column // 2 * 2 + 2] = True
        assert torch.equal(seen, expected)


def test_drop_path_skips_blocks_of_some_items_and_keeps_the_mean():
    torch.manual_seed(0)
    blocks = Blocks(Stack(8, 2, 2), video=False)
    init_weights(blocks)
    tokens = torch.randn(1, 3, 8).expand(4000, -1, -1)
    whole = blocks.eval()(tokens)
    blocks.train().drop_path = 0.5
    with torch.no_grad():
        dropped = blocks(tokens)
        first = blocks.layers[0](tokens)  # the first block is never skipped
    skipped = torch.isclose(dropped, first, atol=1e-6).all(-1).all(-1)
    assert abs(skipped.float().mean() - 0.5) < 0.03
    torch.testing.assert_close(dropped.mean(0), whole[0], atol=0.1, rtol=0)
    blocks.eval()
    assert torch.equal(blocks(tokens), whole)
