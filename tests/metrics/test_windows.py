from itertools import pairwise

import pytest

from vqkit.metrics.windows import window_starts


@pytest.mark.parametrize(
    ("length", "window", "hop"), [(1, 4, 2), (4, 4, 2), (5, 4, 2), (17, 4, 2), (100, 7, 7), (99, 10, 1)]
)
def test_windows_cover_the_clip_from_its_first_sample_to_its_last(length, window, hop):
    starts = window_starts(length, window, hop)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - window)
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(1 <= gap <= hop for gap in gaps)
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    if len(starts) > 1:  # one fewer would leave a larger gap
        assert (length - window) / hop > len(starts) - 2
