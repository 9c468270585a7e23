"""Cross-modal relevance (CMR): whether a sound and a video belong together, by a network that has learned which do.

    log spectrum (bands, frames) ─ convolutions over time ─ mean and deviation ─ linear ─ unit vector ─┐
                                                                                                       cosine
    pictures (pictures, 3, 32, 32) ─ convolutions ─ mean and deviation over time ─ linear ─ unit vector ┘

Conventions:
    The network is trained on the pairs of a training set, so CMR is about what can be learned from them; it compares between systems on one
    set of test pairs, with the CMR of the true pairs and of mismatched ones beside it.

References:
    Radford et al., "CLIP" (2021), arXiv:2103.00020, figure 3 (the symmetric contrastive loss); IVQ, section 4.2 (CMR; it names no network).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.constants import Constant
from vqkit.types import Float

__all__ = ["TwoTower"]

_SIDE = 32
_BANDS, _WINDOW = 48, 1024


class TwoTower(nn.Module):
    """Embeds sounds and videos in one space.

    Args:
        sample_rate: sample rate of the sounds, in Hz.
        width: width of the layers.
        dim: length of an embedding.

    Example:
        >>> tower = TwoTower(16000, width=8, dim=4).eval()
        >>> tower.relevance(torch.randn(2, 16000), torch.rand(2, 4, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(self, sample_rate: int = 16000, width: int = 48, dim: int = 32) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.sound = nn.Sequential(
            nn.Conv1d(_BANDS, width, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2),
            nn.GELU(),
        )
        self.picture = nn.Sequential(
            nn.Conv2d(6, width // 2, 4, stride=4),  # the picture, and what has changed since the one before it
            nn.GELU(),
            nn.Conv2d(width // 2, width, 4, stride=4),
            nn.GELU(),
            nn.Flatten(2),
        )
        self.to_sound, self.to_video = nn.Linear(2 * width, dim), nn.Linear(8 * width, dim)
        self.scale = nn.Parameter(torch.tensor(2.0))  # log of the inverse temperature
        edges = torch.logspace(1.5, torch.log10(torch.tensor(sample_rate / 2)).item(), _BANDS + 1)
        frequency = torch.linspace(0, sample_rate / 2, _WINDOW // 2 + 1)
        inside = (frequency >= edges[:-1, None]) & (frequency < edges[1:, None])
        # the narrowest bands lie between two bins: each takes the nearest
        nearest = (frequency - (edges[:-1, None] + edges[1:, None]) / 2).abs().argmin(dim=1)
        inside[torch.arange(_BANDS), nearest] = True
        self.bands = Constant(lambda: inside.float() / inside.sum(dim=1, keepdim=True))

    def embed_sound(self, wav: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch dim"]:
        """Unit vectors of mono sounds."""
        window = torch.hann_window(_WINDOW, device=wav.device)
        power = torch.stft(wav, _WINDOW, _WINDOW // 2, window=window, return_complex=True).abs().square()
        made = self.sound((self.bands.on(wav.device) @ power + 1e-4).log() / 4)
        return functional.normalize(self.to_sound(_pooled(made)), dim=-1)

    def embed_video(self, pictures: Float[Tensor, "batch count 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Unit vectors of videos, of a few pictures a second; they are resized to 32 pixels."""
        batch, count = pictures.shape[:2]
        small = pictures.flatten(end_dim=1)
        if small.shape[-2:] != (_SIDE, _SIDE):
            small = functional.interpolate(small, (_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
        small = small.view(batch, count, 3, _SIDE, _SIDE)
        change = torch.cat([torch.zeros_like(small[:, :1]), small[:, 1:] - small[:, :-1]], dim=1)
        made = self.picture(torch.cat([small - 0.5, 4 * change], dim=2).flatten(end_dim=1)).flatten(1)
        return functional.normalize(self.to_video(_pooled(made.view(batch, count, -1).transpose(1, 2))), dim=-1)

    def relevance(
        self, wav: Float[Tensor, "batch samples"], pictures: Float[Tensor, "batch count 3 height width"]
    ) -> Float[Tensor, " batch"]:
        """Cosine of each sound and its video: CMR."""
        return (self.embed_sound(wav) * self.embed_video(pictures)).sum(dim=-1)

    def loss(
        self, wav: Float[Tensor, "batch samples"], pictures: Float[Tensor, "batch count 3 height width"]
    ) -> Float[Tensor, ""]:
        """The symmetric contrastive loss of a batch of pairs."""
        logits = self.scale.clamp(0, 4).exp() * self.embed_sound(wav) @ self.embed_video(pictures).T
        target = torch.arange(len(wav), device=wav.device)
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def _pooled(x: Tensor) -> Tensor:
    """Mean and deviation over the last dimension."""
    return torch.cat([x.mean(dim=-1), (x.var(dim=-1, unbiased=False) + 1e-6).sqrt()], dim=1)
