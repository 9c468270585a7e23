"""Training of token generators: the negative log-likelihood of codes, one step at a time, in the house's phases."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from vqkit.models.generator.token_generator import TokenGenerator
from vqkit.models.hub import HubModel
from vqkit.ranks import mean_over_ranks
from vqkit.training.generator.token_streams import TokenItem
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import Phase
from vqkit.training.phased_module import PhasedModule

__all__ = ["GeneratorModule"]


class GeneratorModule(PhasedModule):
    """Trains a generator on token files.

    Args:
        generator: what is trained; the run saves it to the folder ``generator``.
        optimisation: AdamW's settings and the schedule.
        phases: phases in order; by default one in which all learns.

    References:
        IVQ, section 3.3; Copet et al. (2023), arXiv:2306.05284, section 3.2 (cross-entropy of all codebooks alike).
    """

    generator: TokenGenerator

    def __init__(
        self,
        generator: TokenGenerator,
        *,
        optimisation: Optimisation | None = None,
        phases: Sequence[Phase] | None = None,
    ) -> None:
        super().__init__((Phase(name="all"),) if phases is None else phases, optimisation or Optimisation())
        self.generator = generator

    def models(self) -> Mapping[str, HubModel]:
        """The generator."""
        return {"generator": self.generator}

    def networks(self) -> list[nn.Parameter]:
        """All parameters of the generator."""
        return list(self.generator.parameters())

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """None: the codes are given."""
        return []

    def on_fit_start(self) -> None:
        """Note whose codes the generator learns."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.generator.tokens_of = data.tokens_of

    def losses(self, batch: TokenItem) -> tuple[Tensor, Tensor]:
        """Sum of the negative log-likelihoods of a batch's codes in nats, and the number of codes."""
        codes = batch["codes"]
        nats = self.generator(codes, classes=batch.get("class"), condition=batch.get("condition"))
        return nats.sum(), (codes >= 0).sum()

    def learn(self, batch: TokenItem, step: int, phase: Phase) -> None:
        """One step."""
        nats, count = self.losses(batch)
        loss = nats / mean_over_ranks(count.float()).clamp_min(
            1
        )  # ranks average gradients: a code counts alike wherever it is
        norm = self.descend(loss, self.generator.parameters(), step)
        self.log("train/nats_per_code", loss, prog_bar=True)
        self.log("train/gradient_norm", norm)
        self.log("train/learning_rate", self.rate_share * (phase.optimisation or self.optimisation).learning_rate)

    # --- validation

    def on_validation_epoch_start(self) -> None:
        """Forget the items of the last validation."""
        self._valid_sums = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: TokenItem, batch_idx: int) -> None:
        """Measure a batch of windows."""
        self._valid_sums += torch.stack([value.to(self._valid_sums) for value in self.losses(batch)])

    def on_validation_epoch_end(self) -> None:
        """Means over the codes of all ranks."""
        nats, codes = self.trainer.strategy.reduce(self._valid_sums, reduce_op="sum")
        each = nats / codes.clamp_min(1)
        self.log("valid/nats_per_code", each)
        self.log("valid/bits_per_frame", each * self.generator.num_codes / log(2), prog_bar=True)
