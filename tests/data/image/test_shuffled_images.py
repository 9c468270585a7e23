import pytest
import torch
from torch.utils.data import DataLoader

from vqkit.data import Images, ShuffledImages, list_images, write_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven gray images; the left column of pixels tells which, the right column is white."""
    folder = tmp_path_factory.mktemp("numbered")
    for index in range(7):
        image = torch.full((1, 8, 8), index / 255)
        image[..., -1] = 1
        write_image(folder / f"{index}.png", image)
    return folder


def shuffled(folder, length=21, flip=False, seed=0, **options):
    return ShuffledImages(Images(list_images(folder), 8, 1, seed=seed, **options), length, flip)


def number(image):
    """Which image it is, and whether it is mirrored."""
    mirrored = bool(image[0, 0, 0] == 1)
    return round(float(image[0, 0, -1 if mirrored else 0]) * 255), mirrored


def test_every_image_comes_once_an_epoch_in_a_new_order(folder):
    items = shuffled(folder, length=24)
    found = [number(items[index]) for index in range(24)]
    assert len(items) == 24
    assert not any(mirrored for _, mirrored in found)
    order = [index for index, _ in found]
    epochs = [order[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len(set(order[21:])) == 3


def test_order_and_mirrors_depend_on_the_seed_the_epoch_and_the_place_only(folder):
    first = [number(image) for image in map(shuffled(folder, flip=True).__getitem__, range(21))]
    backwards, other = shuffled(folder, flip=True), shuffled(folder, flip=True, seed=1)
    assert [number(backwards[index]) for index in reversed(range(21))] == first[::-1]
    assert [number(other[index]) for index in range(21)] != first
    orders = {tuple(number(shuffled(folder, seed=seed)[index])[0] for index in range(7)) for seed in range(4)}
    assert len(orders) == 4


def test_half_of_the_images_are_mirrored(folder):
    items = shuffled(folder, length=700, flip=True)
    found = [number(items[index]) for index in range(700)]
    assert 300 < sum(mirrored for _, mirrored in found) < 400
    for image in range(7):
        assert {mirrored for index, mirrored in found if index == image} == {True, False}


@pytest.mark.parametrize("cache_megabytes", [0, 1])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_and_cache_change_nothing(folder, num_workers, cache_megabytes):
    options = {"crop": "random", "crop_share": (0.5, 1.0), "flip": True}
    plain, other = shuffled(folder, **options), shuffled(folder, cache_megabytes=cache_megabytes, **options)
    batches = list(DataLoader(other, batch_size=4, num_workers=num_workers))
    assert torch.equal(torch.cat(batches), torch.stack([plain[index] for index in range(21)]))


def test_random_crops_are_new_in_every_epoch_and_leave_the_held_image_alone(tmp_path):
    write_image(tmp_path / "1.png", torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)))
    images = Images(list_images(tmp_path), 8, crop="random", crop_share=(0.25, 0.25), cache_megabytes=1)
    items = ShuffledImages(images, 6)
    crops = [items[index] for index in range(6)]
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) == 6
    crops[0].zero_()
    assert items[0].any()
    images.set_epoch(3)
    assert torch.equal(images[0].image, crops[3])


def test_bad_arguments_are_named(folder):
    with pytest.raises(ValueError, match="length is 0, it must be at least 1"):
        shuffled(folder, length=0)
    with pytest.raises(IndexError, match="item 21 of 21"):
        shuffled(folder)[21]
    with pytest.raises(IndexError, match="image 7 of 7"):
        shuffled(folder).images.draw(7, 0)
