import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vqkit.data import ImageItem, Images, list_images, read_image, write_image


def ramps(folder, *sizes):
    """Images whose red tells the column, green the row and blue the file, in steps of 1/255."""
    for number, (height, width) in enumerate(sizes):
        image = torch.empty(3, height, width)
        image[0], image[1] = torch.arange(width) / 255, torch.arange(height)[:, None] / 255
        image[2] = number / 255
        write_image(folder / f"{number}.png", image)
    return list_images(folder)


def origin(image):
    """(file, top, left) of an uncut piece of `ramps`."""
    return tuple((image[[2, 1, 0], 0, 0] * 255).round().int().tolist())


def npz(folder, count=6, side=8):
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)
    labels = np.array([10, 9, 2, 9, 2, 10])[:count]
    np.savez(folder / "x.npz", images=pixels, labels=labels)
    return pixels, list_images(folder / "x.npz")


def test_an_image_of_the_right_size_is_not_touched(tmp_path):
    items = ramps(tmp_path, (20, 30), (20, 30))
    for crop in ("center", "random", "stretch"):
        image, label = Images(items, (20, 30), crop=crop)[1]
        assert torch.equal(image, read_image(items[1].path))
        assert label == -1


def test_files_of_many_and_their_labels(tmp_path):
    pixels, items = npz(tmp_path)
    images = Images(items, 8, channels=1)
    assert images.classes == ["2", "9", "10"]
    assert [label for _, label in images] == [2, 1, 0, 1, 0, 2]
    np.testing.assert_allclose(images[4].image[0], pixels[4] / 255, atol=1e-6)
    assert Images(items[:2], 8, classes=["10", "9", "8"])[1].label == 1
    batch = next(iter(DataLoader(images, batch_size=6)))
    assert batch.image.shape == (6, 1, 8, 8)
    assert batch.label.tolist() == [2, 1, 0, 1, 0, 2]
    with pytest.raises(ValueError, match="label '10' is not in classes, which has 2, 9"):
        Images(items, 8, classes=["2", "9"])


def test_digits():
    images = Images(list_images("digits", "test"), 8, channels=1)
    assert images.classes == list("0123456789")
    assert torch.stack([image for image, _ in images]).max() == 1


@pytest.mark.parametrize(("height", "width", "top", "left"), [(40, 60, 0, 10), (60, 40, 10, 0), (41, 40, 1, 0)])
def test_center_takes_the_largest_box_of_the_middle(tmp_path, height, width, top, left):
    (item,) = ramps(tmp_path, (height, width))
    image = Images([item], 40)[0].image
    assert torch.equal(image, read_image(item.path)[:, top : top + 40, left : left + 40])


@pytest.mark.parametrize(("crop", "box"), [("center", (24, 0, 120, 96)), ("stretch", (0, 0, 144, 96))])
@pytest.mark.parametrize("side", [31, 150])
def test_resizing_is_pillows(tmp_path, crop, box, side):
    values = np.random.default_rng(0).integers(0, 256, (96, 144), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    image = Images(list_images(tmp_path), side, channels=1, crop=crop)[0].image
    expected = Image.fromarray(values.astype(np.float32)).crop(box).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(image[0], np.asarray(expected) / 255, atol=1e-4)


def test_proportions(tmp_path):
    (item,) = ramps(tmp_path, (60, 80))
    image = Images([item], (30, 60))[0].image  # a box of 40 × 80, from row 10
    assert image.shape == (3, 30, 60)
    scale = 80 / 60
    np.testing.assert_allclose(image[1, 1:-1, 5] * 255, 10 + (np.arange(1, 29) + 0.5) * scale - 0.5, atol=0.05)
    np.testing.assert_allclose(image[0, 5, 1:-1] * 255, (np.arange(1, 59) + 0.5) * scale - 0.5, atol=0.05)


def test_random_boxes(tmp_path):
    items = ramps(tmp_path, (20, 36)) * 600
    starts = [origin(image) for image, _ in Images(items, 20, crop="random")]
    assert {top for _, top, _ in starts} == {0}
    counts = np.bincount([left for _, _, left in starts], minlength=17)
    assert len(counts) == 17
    assert counts.min() > 10  # 35 expected
    half = Images(items, 10, crop="random", crop_share=(0.5, 0.5))
    starts = [origin(image) for image, _ in half]
    assert {top for _, top, _ in starts} == set(range(11))
    assert {left for _, _, left in starts} == set(range(27))


def test_shares_of_random_boxes(tmp_path):
    items = ramps(tmp_path, (100, 100)) * 300
    spans = [
        (image[1, -1, 0] - image[1, 0, 0]).item() * 255
        for image, _ in Images(items, 10, crop="random", crop_share=(0.2, 0.8))
    ]
    heights = np.array(spans) * 10 / 9  # between the middles of the first and last pixel
    assert 19 < heights.min() < 23
    assert 77 < heights.max() < 82
    assert heights.mean() == pytest.approx(50, abs=3)


def test_seed_epoch_and_index_decide(tmp_path):
    items = ramps(tmp_path, (50, 70)) * 20
    first, again, other = (Images(items, 10, crop="random", crop_share=(0.2, 1.0), seed=seed) for seed in (1, 1, 2))
    backwards = [again[i].image for i in reversed(range(20))][::-1]
    epoch_0 = [image for image, _ in first]
    assert all(map(torch.equal, epoch_0, backwards))
    assert not any(map(torch.equal, epoch_0, [image for image, _ in other]))
    first.set_epoch(1)
    assert not any(map(torch.equal, epoch_0, [image for image, _ in first]))
    first.set_epoch(0)
    assert all(map(torch.equal, epoch_0, [image for image, _ in first]))


def test_workers_change_nothing_and_see_the_epoch(tmp_path):
    images = Images(ramps(tmp_path, (50, 70)) * 12, 10, crop="random", crop_share=(0.2, 1.0))
    loader = DataLoader(images, batch_size=3, num_workers=2, persistent_workers=True)
    for epoch in (0, 5):
        images.set_epoch(epoch)
        here = torch.stack([image for image, _ in images])
        assert torch.equal(torch.cat([batch.image for batch in loader]), here)


def with_a_broken_one(folder):
    items = ramps(folder, (9, 9), (9, 9), (9, 9))
    data = items[1].path.read_bytes()
    items[1].path.write_bytes(data[: len(data) // 2])
    return items


def test_what_cannot_be_read_is_replaced_alike_in_every_process(tmp_path):
    items = with_a_broken_one(tmp_path) * 4
    images = Images(items, 9)
    assert images.skipped == {}
    with pytest.warns(UserWarning, match=r"skipped .*1\.png: .*1\.png is damaged or cut short") as caught:
        here = [image for image, _ in images]
    assert len(caught) == 4  # once an item
    assert [origin(image)[0] for image in here[0::3]] == [0] * 4
    assert {origin(image)[0] for image in here[1::3]} <= {0, 2}
    assert list(images.skipped) == [str(items[1].path)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = Images(items, 9)
        there = torch.cat([batch.image for batch in DataLoader(fresh, batch_size=4, num_workers=2)])
        assert torch.equal(there, torch.stack(here))
        assert list(fresh.skipped) == [str(items[1].path)]  # found by the workers
        assert torch.equal(Images(items, 9)[10].image, here[10])


def test_for_evaluation_it_is_an_error(tmp_path):
    images = Images(with_a_broken_one(tmp_path), 9, unreadable="raise")
    assert origin(images[2].image)[0] == 2
    with pytest.raises(ValueError, match=r"1\.png is damaged or cut short"):
        images[1]


def test_all_are_broken(tmp_path):
    items = [ImageItem(tmp_path / name, name) for name in ("a.png", "b.png")]
    images = Images(items, 4)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(
                ValueError, match=r"none of the 2 images can be read; the last failure: no such image file"
            ):
                images[0]
    assert len(images.skipped) == 2


def test_a_limit_of_pixels(tmp_path):
    images = Images(ramps(tmp_path, (20, 30)), 4, unreadable="raise", max_megapixels=0.0005)
    with pytest.raises(ValueError, match=r"has 30 × 20 pixels, allowed are .* at most 0.0005 megapixels"):
        images[0]


def test_arguments_are_checked(tmp_path):
    items = ramps(tmp_path, (4, 4))
    for arguments, message in (
        ({"size": 0}, r"size is \(0, 0\), both must be at least 1"),
        ({"channels": 4}, "channels is 4"),
        ({"crop": "left"}, "crop is 'left', allowed are 'center', 'random' and 'stretch'"),
        (
            {"crop": "random", "crop_share": (0.5, 0.2)},
            r"crop_share is \(0.5, 0.2\), it must be two rising shares in 0 … 1",
        ),
        ({"crop_share": (0.5, 1.0)}, r"crop_share is \(0.5, 1.0\), it is for crop 'random', not 'center'"),
        ({"unreadable": "ignore"}, "unreadable is 'ignore', allowed are 'skip' and 'raise'"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            Images(items, **{"size": 4, **arguments})
    with pytest.raises(ValueError, match="items is empty"):
        Images([], 4)
    images = Images(items, 4)
    with pytest.raises(ValueError, match="epoch is -1"):
        images.set_epoch(-1)
    with pytest.raises(IndexError, match="image 1 of 1"):
        images[1]
