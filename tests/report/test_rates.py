from types import SimpleNamespace

import pytest

from vqkit.report.rates import rate_groups


def _groups(*bits, **options):
    systems = [SimpleNamespace(bits_per_token=b) for b in bits]
    return [[member.bits_per_token for member in group.members] for group in rate_groups(systems, **options)]


def test_groups_by_rate_in_order():
    assert _groups(24, 12, 48.4, 12.1) == [[12, 12.1], [24], [48.4]]


def test_members_keep_their_order():
    assert _groups(12.1, 24, 12, 12.2) == [[12.1, 12, 12.2], [24]]


def test_a_chain_of_small_steps_is_cut():
    assert _groups(10, 10.2, 10.4, 10.6) == [[10, 10.2], [10.4, 10.6]]
    assert _groups(10, 10.3) == [[10, 10.3]]


def test_tolerance():
    assert _groups(10, 10.9, tolerance=0.1) == [[10, 10.9]]
    assert _groups(10, 10.9, tolerance=0.0) == [[10], [10.9]]


@pytest.mark.parametrize(
    ("bits", "heading"),
    [([24], "24 bits per token"), ([1], "1 bit per token"), ([48.0, 48.404], "48–48.4 bits per token")],
)
def test_headings(bits, heading):
    assert rate_groups([SimpleNamespace(bits_per_token=b) for b in bits])[0].heading == heading


def test_nothing():
    assert rate_groups([]) == []
