"""Masked autoencoding of the same encoder, to compare with: the hidden patches themselves are predicted, each normalised.

References:
    He et al., "Masked autoencoders are scalable vision learners" (2022), arXiv:2111.06377; Huang et al., "Masked autoencoders that listen"
    (2022), arXiv:2207.06405.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vqkit.data.audio.batch_augment import random_gain, roll
from vqkit.models.bridle import Bridle
from vqkit.models.bridle.patches import gather, normalised_patches
from vqkit.models.hub import HubModel
from vqkit.ranks import mean_over_ranks
from vqkit.training.bridle.module import long_enough, signals_of
from vqkit.training.bridle.phases import decaying
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import EntryAction, Phase
from vqkit.training.phased_module import PhasedModule, Split

__all__ = ["PatchAutoencoderModule"]


class PatchAutoencoderModule(PhasedModule):
    """Trains the encoder of a `Bridle` by masked autoencoding; its tokenizer stays as it is.

    Args:
        bridle: whose encoder is trained; the run saves it to the folder ``bridle``.
        optimisation: AdamW's settings and the schedule.
        mask_ratio: share of the patches that the encoder does not see.
        augment: roll training sound in a circle and change its level.
        evaluation: what happens at the end.

    Raises:
        ValueError: a ratio outside 0 … 1.
    """

    def __init__(
        self,
        bridle: Bridle,
        *,
        optimisation: Optimisation | None = None,
        mask_ratio: float = 0.8,
        augment: bool = True,
        evaluation: EntryAction | None = None,
    ) -> None:
        after = () if evaluation is None else (evaluation,)
        trains = ("bridle.encoder", "bridle.predictor", "head")
        how = optimisation or Optimisation(learning_rate=5e-4, betas=(0.9, 0.95), weight_decay=1e-4)
        super().__init__([Phase(name="autoencoding", trains=trains, on_exit=after)], how)
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be between 0 and 1, got {mask_ratio}")
        self.bridle, self.mask_ratio, self.augment = bridle, mask_ratio, augment
        values = bridle.channels * int(torch.tensor(bridle.patch).prod())
        self.head = nn.Linear(bridle.predictor.norm.normalized_shape[0], values)

    def models(self) -> Mapping[str, HubModel]:
        """The one model."""
        return {"bridle": self.bridle}

    def networks(self) -> list[nn.Parameter]:
        """Matrices of encoder, predictor and head."""
        return decaying(self._learning(), True)

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """What does not decay: biases, norms and tokens."""
        return decaying(self._learning(), False)

    def _learning(self) -> list[nn.Parameter]:
        parts = (self.bridle.encoder, self.bridle.predictor, self.head)
        return [parameter for part in parts for parameter in part.parameters()]

    def splits(self) -> list[Split]:
        """What learns."""
        return [Split(self.bridle.encoder), Split(self.bridle.predictor), Split(self.head)]

    @property
    def sample_rate(self) -> int:
        """Sample rate of the sound to train on, in Hz."""
        return self.bridle.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the signals to train on."""
        return self.bridle.channels

    def learn(self, batch: Any, step: int, phase: Phase) -> None:
        """One step."""
        x = signals_of(batch)
        if self.augment and self.bridle.modality == "audio":
            x = random_gain(roll(x))
        loss = self.loss(x)
        self.log("train/patches", loss, prog_bar=True)
        self.log("train/gradient_norm", self.descend(loss, self._learning(), step))

    def loss(self, x: Tensor) -> Tensor:
        """Mean squared error of the hidden patches that are not digital silence."""
        cut = self.bridle.parts(self.bridle.cut(x))[0]
        mask = self.bridle.mask(cut, self.mask_ratio)
        vectors = self.bridle.predictor(self.bridle.encoder(cut.values, mask.kept), mask, cut.grid)
        targets = gather(normalised_patches(cut.values), mask.hidden)
        errors = (self.head(vectors).float() - targets).square().mean(-1)
        silent = self.bridle.silent(cut)
        if silent is None:
            return errors.mean()
        real = ~gather(silent[..., None], mask.hidden)[..., 0]
        count = real.sum().float()
        return (errors * real).sum() / (mean_over_ranks(count) if self.training else count).clamp_min(1)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The loss, with masks that are the same at every validation."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(batch_idx)
            self.log(
                "valid/patches", self.loss(long_enough(self.bridle, signals_of(batch))), prog_bar=True, sync_dist=True
            )
