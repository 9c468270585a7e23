"""Adversarial losses: the hinge losses of a discriminator and of the codec it judges, and feature matching.

Conventions
    ``scores`` are a discriminator's outputs, one tensor for each of its parts (scales); ``features`` the activations of the layers of
    each part.

References:
    Lim & Ye, "Geometric GAN" (2017), arXiv:1705.02894 (hinge); Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vqkit.ranks import mean_over_ranks

__all__ = ["feature_matching", "hinge_discriminator", "hinge_generator"]


def hinge_discriminator(real_scores: Sequence[Tensor], fake_scores: Sequence[Tensor]) -> Tensor:
    """Mean over parts of  mean max(0, 1 − D(x))  +  mean max(0, 1 + D(x̂)).

    Example:
        >>> hinge_discriminator([torch.tensor([0.5, 2.0])], [torch.tensor([-3.0, 0.0])])
        tensor(0.7500)
    """
    terms = [
        torch.relu(1 - real.float()).mean() + torch.relu(1 + fake.float()).mean()
        for real, fake in zip(real_scores, fake_scores, strict=True)
    ]
    return torch.stack(terms).mean()


def hinge_generator(fake_scores: Sequence[Tensor]) -> Tensor:
    """Mean over parts of  mean max(0, 1 − D(x̂)).

    Example:
        >>> hinge_generator([torch.tensor([0.5, 2.0]), torch.tensor([-1.0])])
        tensor(1.1250)
    """
    return torch.stack([torch.relu(1 - fake.float()).mean() for fake in fake_scores]).mean()


def feature_matching(real_features: Sequence[Sequence[Tensor]], fake_features: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean over parts and layers of  mean |D_l(x) − D_l(x̂)| / mean |D_l(x)|; no gradient through the real side.

    The mean below is over all ranks, so that several processes see what one would see on their joined batch.

    Example:
        >>> feature_matching([[torch.tensor([1.0, -3.0])]], [[torch.tensor([1.0, -2.0])]])
        tensor(0.2500)
    """
    real = [layer.detach().float() for layers in real_features for layer in layers]
    fake = [layer.float() for layers in fake_features for layer in layers]
    sizes = mean_over_ranks(torch.stack([layer.abs().mean() for layer in real])).clamp_min(1e-8)
    distances = [(one - other).abs().mean() for one, other in zip(real, fake, strict=True)]
    return (torch.stack(distances) / sizes).mean()
