"""Token files as training data: every item once, alike on all ranks, and continued in mid-epoch as if nothing had been."""

import itertools

import numpy as np
import pytest
import torch
from hashing import in_process, run

from vqkit.tokenize import TokenDataset, TokenLoader, collate_tokens
from vqkit.tokenize.loader import epoch_order


@pytest.fixture
def folder(corpus, tmp_path):
    run(corpus(26, {7: b"bad"}), tmp_path / "tokens", runner=in_process)
    return tmp_path / "tokens"


class Flat:
    """One code a position."""

    def arrange(self, codes):
        return codes.reshape(len(codes), -1, 1)


def batches(loader, count=None):
    return [(batch.codes, batch.lengths.tolist(), batch.keys) for batch in itertools.islice(loader, count)]


def assert_equal(one, other):
    assert len(one) == len(other)
    for (codes, lengths, keys), (codes2, lengths2, keys2) in zip(one, other, strict=True):
        assert torch.equal(codes, codes2)
        assert (lengths, keys) == (lengths2, keys2)


def test_items_are_those_of_the_files(folder):
    import pyarrow.parquet as parquet

    dataset = TokenDataset(folder, cached_shards=1, verify=True)
    assert len(dataset) == 25
    rows = [
        row for path in sorted((folder / "shards").glob("*.parquet")) for row in parquet.read_table(path).to_pylist()
    ]
    for item, row in zip(dataset, rows, strict=True):
        assert item.key == row["key"]
        assert torch.equal(item.codes, torch.tensor(row["codes"]).reshape(row["shape"]))
    with pytest.raises(IndexError, match="item 25 of 25"):
        dataset[25]


def test_crops_stages_and_patterns(folder):
    whole = TokenDataset(folder)
    cropped = TokenDataset(folder, crop_frames=3, stages=2)
    index = max(range(len(whole)), key=lambda i: len(whole[i].codes))
    codes = whole[index].codes
    starts = set()
    for epoch in range(20):
        cropped.set_epoch(epoch)
        crop = cropped[index].codes
        assert torch.equal(crop, cropped[index].codes)
        starts |= {s for s in range(len(codes) - 2) if torch.equal(crop, codes[s : s + 3, :2])}
    assert len(starts) > 3
    flat = TokenDataset(folder, pattern=Flat())
    assert torch.equal(flat[index].codes[:, 0], codes.flatten())
    with pytest.raises(ValueError, match="stages is 4, the codes have 3"):
        TokenDataset(folder, stages=4)[0]
    with pytest.raises(ValueError, match="crop_frames must be at least 1, got 0"):
        TokenDataset(folder, crop_frames=0)
    for name in ("stages", "crop_frames"):
        with pytest.raises(ValueError, match=f"{name} must be a number, got True"):
            TokenDataset(folder, **{name: True})


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_an_epoch(folder, ranks):
    loaders = [TokenLoader(TokenDataset(folder), 2, rank=rank, ranks=ranks, window_shards=2) for rank in range(ranks)]
    epochs = []
    for _ in range(2):
        shares = [[key for _, _, keys in batches(loader) for key in keys] for loader in loaders]
        assert {len(share) for share in shares} == {25 // ranks // 2 * 2}
        joined = list(itertools.chain(*shares))
        assert len(set(joined)) == len(joined)
        epochs.append(shares)
    assert epochs[0] != epochs[1]
    # together they see what one sees: the order does not depend on how many there are
    alone = [key for _, _, keys in batches(TokenLoader(TokenDataset(folder), 1, window_shards=2)) for key in keys]
    together = [key for keys in zip(*epochs[0], strict=True) for key in keys]
    assert alone[: len(together)] == together


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_continued(folder, workers):
    def loader():
        return TokenLoader(TokenDataset(folder, crop_frames=4), 3, seed=5, window_shards=2, workers=workers)

    undisturbed = loader()
    expected = batches(undisturbed) + batches(undisturbed)
    assert len(expected) == 2 * len(undisturbed) == 16
    for stop in (1, 5, 8, 11):
        first, second = loader(), loader()
        seen = []
        while len(seen) < stop:
            seen += batches(first, stop - len(seen))
        state = first.state_dict()
        second.load_state_dict(state)
        while len(seen) < 16:
            seen += batches(second, 16 - len(seen))
        assert_equal(seen, expected)


def test_another_order_is_refused(folder):
    loader = TokenLoader(TokenDataset(folder), 2)
    state = loader.state_dict()
    with pytest.raises(ValueError, match="saved with batch_size=2, this loader has 3"):
        TokenLoader(TokenDataset(folder), 3).load_state_dict(state)
    with pytest.raises(ValueError, match="25 items do not fill a batch of 20 on each of 2 ranks"):
        TokenLoader(TokenDataset(folder), 20, rank=0, ranks=2)
    with pytest.raises(ValueError, match="rank must be in 0 … 1, got 2"):
        TokenLoader(TokenDataset(folder), 2, rank=2, ranks=2)


def test_the_order_of_an_epoch():
    sizes = [5, 0, 7, 3, 9]
    orders = [list(epoch_order(sizes, 0, epoch, 2)) for epoch in range(3)]
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    plain = list(epoch_order([100] * 20, 0, 0, 4))
    within = np.array(plain[:400]) // 100  # of a window no more than four shards are open
    assert len(set(within.tolist())) == 4


def test_items_of_other_widths_make_no_batch():
    from vqkit.tokenize import TokenItem

    with pytest.raises(ValueError, match=r"equally many codes, got \[2, 3\]"):
        collate_tokens([TokenItem(torch.ones(2, 3).long(), "a"), TokenItem(torch.ones(2, 2).long(), "b")])


def test_indices_as_of_other_sequences(folder):
    dataset = TokenDataset(folder, crop_frames=2)
    for index in (-1, -25, np.int64(-3)):
        assert dataset[index].key == dataset[25 + index].key
        assert torch.equal(dataset[index].codes, dataset[25 + index].codes)
    with pytest.raises(IndexError, match="item -26 of 25"):
        dataset[-26]
    with pytest.raises(TypeError, match=r"must be an integer, got slice\(0, 2, None\): torch.utils.data.Subset"):
        dataset[0:2]


def test_a_state_is_a_place_in_an_epoch(folder):
    loader = TokenLoader(TokenDataset(folder), 4)
    state = loader.state_dict()
    for change in ({"batches": 6}, {"batches": -1}, {"epoch": -1}, {"epoch": None}):
        wrong = state | change
        said = (
            f"epoch of at least 0 and 0 to 5 batches of it, got epoch={wrong['epoch']} and batches={wrong['batches']}"
        )
        with pytest.raises(ValueError, match=said):
            loader.load_state_dict(wrong)
    loader.load_state_dict(state | {"batches": 5})
    assert len(list(loader)) == 1
    assert loader.state_dict()["epoch"] == 1
    loader.load_state_dict(loader.state_dict())
    assert len(list(loader)) == 6
