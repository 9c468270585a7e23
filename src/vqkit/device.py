"""The device that a command's --device names."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["usable_device"]


def usable_device(name: str) -> "torch.device":
    """Return a device that can be used; of several GPUs, ``"cuda"`` is the one of this process.

    Raises:
        ValueError: there is no such device.
    """
    import multiprocessing

    import torch

    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and torch.cuda.device_count():
            number = (*multiprocessing.current_process()._identity, 0)[0]
            device = torch.device("cuda", number % torch.cuda.device_count())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter of a PyTorch without such devices
        there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"device {name!r} cannot be used ({reason}); there is {' and '.join(there)}") from None
    return device
