from types import SimpleNamespace

import pytest
import torch

from vqkit.data import Images, list_images, read_image, sample_folder
from vqkit.training import ImageDataModule


def data(folder, rank=0, world_size=1, steps=6, channels=3, **options):
    """The data of a run, on one of its ranks."""
    module = ImageDataModule(str(folder), **{"size": 8, "batch_size": 4} | options)
    module.trainer = SimpleNamespace(
        lightning_module=SimpleNamespace(channels=channels),
        limit_train_batches=steps,
        global_rank=rank,
        world_size=world_size,
    )
    return module


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_steps_batch_depends_on_seed_and_step_only(blob_images, num_workers):
    options = {"crop": "random", "crop_share": (0.4, 0.9), "flip": True}
    whole = list(data(blob_images, **options).train_dataloader())
    assert len(whole) == 6
    assert whole[0].shape == (4, 3, 8, 8)
    loader = data(blob_images, num_workers=num_workers, cache_megabytes=0, **options).train_dataloader()
    loader.load_state_dict({"batches": 3})
    for expected, batch in zip(whole[3:], loader, strict=True):
        assert torch.equal(batch, expected)
    longer = next(iter(data(blob_images, steps=9, **options).train_dataloader()))
    assert torch.equal(longer, whole[0])
    other = next(iter(data(blob_images, seed=1, **options).train_dataloader()))
    assert not torch.equal(other, whole[0])


def test_ranks_share_the_batch_of_one(blob_images):
    whole = list(data(blob_images).train_dataloader())
    shares = [list(data(blob_images, rank, 2).train_dataloader()) for rank in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat(parts), batch)
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes, got 4"):
        data(blob_images, 0, 3).train_dataloader()


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_every_validation_image_counts_once(blob_images, world_size):
    expected = Images(list_images(blob_images, "valid"), 8)
    counted, batches = [], set()
    for rank in range(world_size):
        loader = data(blob_images, rank, world_size).val_dataloader()
        pairs = [(image, bool(counts)) for images, marks in loader for image, counts in zip(images, marks, strict=True)]
        batches.add(len(loader))
        counted += [image for image, counts in pairs if counts]
    assert len(batches) == 1  # as many for each, or they would wait for ever
    assert len(counted) == 3
    for index in range(3):
        assert sum(torch.equal(image, expected[index].image) for image in counted) == 1


def test_validation_images_are_the_middles_and_evenly_spread(blob_images):
    (images, counts), *rest = data(blob_images, crop="random", valid_images=2, channels=1).val_dataloader()
    assert not rest
    assert counts.tolist() == [True, True]
    expected = Images(list_images(blob_images, "valid"), 8, 1)
    assert torch.equal(images, torch.stack([expected[0].image, expected[1].image]))
    (images, _), *_ = data(blob_images, crop="stretch", size=(8, 16)).val_dataloader()
    assert images.shape == (3, 3, 8, 16)
    assert data(blob_images, valid_split=None).val_dataloader() == []


def test_a_limit_of_pixels(blob_images):
    height, width = read_image(list_images(blob_images)[0].path).shape[-2:]
    for megapixels, allowed in ((height * width / 1e6, True), (height * width / 1e6 - 1e-6, False)):
        module = data(blob_images, max_megapixels=megapixels)
        for loader in (module.train_dataloader(), module.val_dataloader()):
            if allowed:
                next(iter(loader))
                continue
            with (
                pytest.warns(UserWarning, match="megapixels"),
                pytest.raises(ValueError, match="none of the . images can be read"),
            ):
                next(iter(loader))


def test_all_images_and_those_that_ship(blob_images):
    assert len(data(blob_images, train_split=None).items(None)) == 8
    samples = data("samples").items("train")
    assert samples == list_images(sample_folder(), "train")
    assert len(samples) >= 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"valid_images": 0}, "valid_images must be at least 1 and num_workers at least 0, got 0 and 0"),
        ({"num_workers": -1}, "got 256 and -1"),
        ({"max_megapixels": 0}, "max_megapixels is 0, it must be more than 0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ImageDataModule("x", size=8, **options)
