"""Distance of waveforms, sample by sample."""

from torch import Tensor

from vqkit.types import Float

__all__ = ["waveform_l1"]


def waveform_l1(
    estimate: Float[Tensor, "batch channels samples"], reference: Float[Tensor, "batch channels samples"]
) -> Tensor:
    """Mean absolute difference, EnCodec's ``l_t``.

    Args:
        estimate: reconstruction.
        reference: original.

    Returns:
        Scalar, in float32.

    Raises:
        ValueError: different shapes.

    Example:
        >>> import torch
        >>> waveform_l1(torch.zeros(1, 1, 4), torch.full((1, 1, 4), 0.5))
        tensor(0.5000)

    References:
        Défossez et al. (2022), arXiv:2210.13438, section 3.4.
    """
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate and reference must have one shape, got {tuple(estimate.shape)} and {tuple(reference.shape)}"
        )
    return (estimate.float() - reference.float()).abs().mean()
