import numpy as np
import pytest

from vqkit.data.image.sets.cifar import cifar_labels, cifar_pixels, is_cifar, refuse_pickled_cifar


def test_records(tmp_path):
    red, green, blue = (np.random.default_rng(i).integers(0, 256, (3, 32, 32), dtype=np.uint8) for i in range(3))
    records = b"".join(
        bytes([label]) + red[i].tobytes() + green[i].tobytes() + blue[i].tobytes() for i, label in enumerate((0, 9, 6))
    )
    for name, split in (("data_batch_3.bin", "train"), ("test_batch.bin", "test")):
        path = tmp_path / name
        path.write_bytes(records)
        assert is_cifar(path)
        assert cifar_labels(path) == [("airplane", split), ("truck", split), ("frog", split)]
        pixels = cifar_pixels(path)
        assert pixels.values.shape == (3, 32, 32, 3)
        image = pixels.image(1, channels=3)
        np.testing.assert_allclose(image, np.stack([red[1], green[1], blue[1]]) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, a file of CIFAR-10's binary version has 3073 for every image"),
        (bytes(3072), "has 3072 bytes"),
        (bytes(3074 * 2), "has 6148 bytes"),  # CIFAR-100
        (b"\x0a" + bytes(3072), "has the label 10, allowed are 0 to 9"),
    ],
)
def test_what_is_no_cifar(tmp_path, data, message):
    (tmp_path / "test_batch.bin").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        cifar_pixels(tmp_path / "test_batch.bin")


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_the_pickled_version_is_refused(tmp_path, name):
    assert not is_cifar(tmp_path / name)
    with pytest.raises(
        ValueError, match=rf"{name} is of CIFAR-10's python version, pickled .* binary version, data_batch_\*\.bin"
    ):
        refuse_pickled_cifar(tmp_path / name)
    refuse_pickled_cifar(tmp_path / f"{name}.bin")
