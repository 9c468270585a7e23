"""Pretraining of a `Bridle`, one step at a time.

encoder phase:    patches ┬ a few places ─ encoder ─ predictor ─ logits ─┐
                          └ all places ─ tokenizer (frozen) ─ codes ─────┴ cross-entropy at the hidden places
tokenizer phase:  patches ┬ encoder (frozen) ─ teacher's vectors ────────┐
                          └ tokenizer ─ codes ─ estimator ─ estimates ───┴ cosine distance + the quantizer's losses
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.data.audio.batch_augment import gains, random_gain, roll
from vqkit.models.bridle import Bridle
from vqkit.models.bridle.bridle import Patches
from vqkit.models.bridle.front import AudioFront
from vqkit.models.bridle.masking import Mask
from vqkit.models.bridle.patches import gather
from vqkit.models.hub import HubModel
from vqkit.ranks import from_first_rank, mean_over_ranks, num_ranks, own_rank
from vqkit.training.bridle.phases import BridlePhase, decaying, interleaved_phases, joint_phases
from vqkit.training.bridle.usage import UsageLog
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import EntryAction
from vqkit.training.phased_module import PhasedModule, Split
from vqkit.types import Float

__all__ = ["BridleModule", "long_enough", "signals_of", "standardised"]

_MASK_RATIOS = {"audio": 0.8, "image": 0.8, "video": 0.9}
_ENCODER = Optimisation(learning_rate=5e-4, betas=(0.9, 0.95), weight_decay=1e-4)
_TOKENIZER = Optimisation(learning_rate=2e-4, betas=(0.9, 0.95), weight_decay=1e-4)


class BridleModule(PhasedModule):
    """Trains encoder and tokenizer by turns, or together.

    The learning rate of each phase rises and falls by itself. Matrices decay; biases, norms, tokens and codebooks do not.

    Args:
        bridle: what is trained; the run saves it to the folder ``bridle``, and after the iterations before the last to ``iteration-1``, ….
        iterations: number of encoder phases, with a tokenizer phase between each two.
        encoder: optimisation of the encoder phases, and of joint training.
        tokenizer: optimisation of the tokenizer phases.
        shares: steps of an encoder phase and of a tokenizer phase, in proportion; in joint training those of the cold start and of what
            follows.
        mask_ratio: share of the patches that the encoder does not see; 0.8 by default, for video 0.9.
        teacher: what the estimator is compared with: the encoder's vectors, ``"standardised"`` channel by channel over the batch, or
            ``"raw"`` as published. Vectors of a young encoder share a large part; to estimate it takes no code, and codebooks collapse.
        tokenizer_sees: ``"all"`` patches when it makes the codes to predict, or only the ``"hidden"`` ones, as the published code for
            video.
        augment: roll training sound in a circle and change its level; images and video are augmented by their data modules.
        joint: after the cold start train both together.
        joint_weight: λ of equation 8, weight of the tokenizer's losses in joint training.
        tokenizer_every: steps from one update of the tokenizer to the next, in joint training.
        usage_every: steps over which the use of codes is counted.
        evaluation: what happens after each encoder phase, such as `vqkit.pretraining.LinearProbe`.

    Raises:
        ValueError: an argument out of range.

    References:
        BRIDLE (arXiv:2502.02118), equations 4 to 8 and appendix A.
    """

    def __init__(
        self,
        bridle: Bridle,
        *,
        iterations: int = 2,
        encoder: Optimisation = _ENCODER,
        tokenizer: Optimisation = _TOKENIZER,
        shares: tuple[float, float] = (130, 30),
        mask_ratio: float | None = None,
        teacher: Literal["standardised", "raw"] = "standardised",
        tokenizer_sees: Literal["all", "hidden"] = "all",
        augment: bool = True,
        joint: bool = False,
        joint_weight: float = 1.0,
        tokenizer_every: int = 5,
        usage_every: int = 100,
        evaluation: EntryAction | None = None,
    ) -> None:
        phases = (
            joint_phases(encoder, shares, evaluation)
            if joint
            else interleaved_phases(iterations, encoder, tokenizer, shares, evaluation)
        )
        super().__init__(phases, encoder)
        ratio = _MASK_RATIOS[bridle.modality] if mask_ratio is None else mask_ratio
        if not 0 < ratio < 1:
            raise ValueError(f"mask_ratio must be between 0 and 1, got {ratio}")
        if not joint_weight > 0 or tokenizer_every < 1 or usage_every < 1:
            raise ValueError(
                f"joint_weight must be positive, tokenizer_every and usage_every at least 1, got {joint_weight}, "
                f"{tokenizer_every} and {usage_every}"
            )
        if teacher not in ("standardised", "raw"):
            raise ValueError(f"teacher must be 'standardised' or 'raw', got {teacher!r}")
        if tokenizer_sees not in ("all", "hidden"):
            raise ValueError(f"tokenizer_sees must be 'all' or 'hidden', got {tokenizer_sees!r}")
        if tokenizer_sees == "hidden" and bridle.quantizer.needs_grid:
            raise ValueError(
                "tokenizer_sees='hidden' is not for a quantizer that interpolates: it needs the whole grid"
            )
        self.tokenizer_sees = tokenizer_sees
        self.bridle, self.mask_ratio, self.teacher, self.augment = bridle, ratio, teacher, augment
        self.joint_weight, self.tokenizer_every = joint_weight, tokenizer_every
        self.usage = UsageLog(bridle.quantizer, usage_every)
        self._laid_out: int | None = None  # steps of the run that a checkpoint is of

    # --- what is trained

    def models(self) -> Mapping[str, HubModel]:
        """The one model."""
        return {"bridle": self.bridle}

    def networks(self) -> list[nn.Parameter]:
        """Matrices of all networks."""
        own = {id(parameter) for parameter in self.bridle.quantizer.parameters()}
        return decaying([parameter for parameter in self.bridle.parameters() if id(parameter) not in own], True)

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """What does not decay: parameters of the quantizer, biases, norms and tokens."""
        matrices = {id(parameter) for parameter in self.networks()}
        return [parameter for parameter in self.bridle.parameters() if id(parameter) not in matrices]

    def splits(self) -> list[Split]:
        """The parts, with what a step calls of them."""
        parts, tokenizer = self.bridle, ("codes", "codes_alone", "latents", "quantize")
        return [
            Split(parts.encoder),
            Split(parts.predictor, ("logits",)),
            Split(parts.tokenizer, tokenizer),
            Split(parts.estimator),
        ]

    @property
    def sample_rate(self) -> int:
        """Sample rate of the sound to train on, in Hz."""
        return self.bridle.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the signals to train on."""
        return self.bridle.channels

    # --- one step

    def start(self, batch: Any) -> None:
        """Let the codebooks of the cold start begin at the first batch."""
        cut = self.cut(signals_of(batch))
        self.bridle.tokenizer.start(cut.values, cut.grid)

    def cut(self, x: Tensor) -> Patches:
        """Patches of training signals; sound longer than the model loses its end."""
        return self.bridle.parts(self.bridle.cut(x))[0]

    def learn(self, batch: Any, step: int, phase: BridlePhase) -> None:
        """One step of encoder, tokenizer or both."""
        x = signals_of(batch)
        if self.augment and self.bridle.modality == "audio":
            shares, factors = rows_of_own_rank(lambda items: (torch.rand(items), gains(items)), len(x))
            x = random_gain(roll(x, shares), factors)
        cut, span = self.cut(x), self.span(step)
        losses: dict[str, Tensor] = {}
        if phase.task != "tokenizer":
            losses |= self.encoder_losses(cut)
        if phase.task == "tokenizer" or (phase.task == "joint" and (step - span.first) % self.tokenizer_every == 0):
            losses |= self.tokenizer_losses(cut, first=step == span.first)
        weight = 1.0 if phase.task == "tokenizer" else self.joint_weight
        terms = [value if name == "encoder" else weight * value for name, value in losses.items()]
        norm = self.descend(torch.stack(terms).sum(), self.bridle.parameters(), step)
        for name, value in {**losses, "gradient_norm": norm}.items():
            self.log(f"train/{name}", value, prog_bar=name in losses)
        last = step + 1 == span.first + span.steps
        used = self.usage.update(self._codes, step, phase.name, last)
        for name, share in used.items():
            self.log(f"usage/{name}", share)
        folder = self.trainer.log_dir if used else None  # ranks exchange it: all have to ask
        if folder and self.trainer.is_global_zero:
            self.usage.write(Path(folder))

    def encoder_losses(self, cut: Patches) -> dict[str, Tensor]:
        """Equation 4: mean cross-entropy over hidden places and codebooks. Patches of digital silence have nothing to predict."""
        mask = Mask(
            *rows_of_own_rank(lambda items: _both(self.bridle.mask(cut, self.mask_ratio, items)), len(cut.values))
        )
        if self.tokenizer_sees == "all":
            self._codes = self.bridle.tokenizer.codes(cut.values, cut.grid)
            targets = gather(self._codes, mask.hidden)
        else:
            self._codes = targets = self.bridle.tokenizer.codes_alone(cut.values, mask.hidden)
        vectors = self.bridle.predictor(self.bridle.encoder(cut.values, mask.kept), mask, cut.grid)
        silent = self.bridle.silent(cut)
        if silent is not None:
            targets = targets.masked_fill(gather(silent[..., None], mask.hidden), -1)
        logits = self.bridle.predictor.logits(vectors)
        counted = (targets[..., 0] >= 0).sum().float()
        if self.training:  # ranks average gradients: a place counts alike wherever it is
            counted = mean_over_ranks(counted)
        counted = counted.clamp_min(1)
        terms = [
            F.cross_entropy(own.flatten(0, 1), targets[..., m].flatten(), ignore_index=-1, reduction="sum") / counted
            for m, own in enumerate(logits)
        ]
        hits = torch.stack([(own.argmax(-1) == targets[..., m]).sum() / counted for m, own in enumerate(logits)])
        self.log("train/accuracy", hits.mean(), prog_bar=True)
        return {"encoder": torch.stack(terms).mean()}

    def tokenizer_losses(self, cut: Patches, first: bool) -> dict[str, Tensor]:
        """Equations 5 and 6: cosine distance from the teacher, and the quantizer's losses.

        Args:
            cut: whole signals.
            first: whether this is the first batch of the phase, in which unused codes are reset.
        """
        tokenizer = self.bridle.tokenizer
        with torch.no_grad():
            teacher = self.bridle.encoder(cut.values).float()
            if self.teacher == "standardised":
                teacher = standardised(teacher)
        latents = tokenizer.latents(cut.values, cut.grid)
        if first:
            with tokenizer.resetting_unused():
                made = tokenizer.quantize(latents)
        else:
            made = tokenizer.quantize(latents)
        self._codes = made.codes.flatten(1, len(cut.grid)).detach()
        estimate = self.bridle.estimator(made.z_q.flatten(1, len(cut.grid)))
        similarity = F.cosine_similarity(teacher, estimate.float(), dim=-1)
        return {"cosine": 1 - similarity.mean(), "codebook": made.loss}

    # --- validation and checkpoints

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Mean cross-entropy of hidden patches, with masks that are the same at every validation."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(batch_idx)
            losses = self.encoder_losses(self.cut(long_enough(self.bridle, signals_of(batch))))
        self.log("valid/encoder", losses["encoder"], prog_bar=True, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the counts of codes, and over how many steps the phases are laid out."""
        checkpoint["bridle"] = {"usage": self.usage.state(), "steps": int(self.trainer.num_training_batches)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with them."""
        self.usage.load(checkpoint["bridle"]["usage"])
        self._laid_out = checkpoint["bridle"]["steps"]

    def on_train_start(self) -> None:
        """See that an interrupted run goes on with the phases that it began with.

        Raises:
            ValueError: another number of steps, over which the phases would lie elsewhere.
        """
        steps = int(self.trainer.num_training_batches)
        if self._laid_out not in (None, steps):
            raise ValueError(
                f"the phases of this run are laid out over {self._laid_out} steps, not {steps}: "
                f"go on with --steps {self._laid_out}, or choose another --folder"
            )


def long_enough(bridle: Bridle, x: Tensor) -> Tensor:
    """Sound that is shorter than a patch, with silence behind it; everything else as it is."""
    missing = bridle.front.shortest_samples - x.shape[-1] if isinstance(bridle.front, AudioFront) else 0
    return F.pad(x, (0, missing)) if missing > 0 else x


def _both(mask: Mask) -> tuple[Tensor, Tensor]:
    return mask.kept, mask.hidden


def rows_of_own_rank(draw: Callable[[int], tuple[Tensor, ...]], items: int) -> tuple[Tensor, ...]:
    """Random numbers for the items of this rank, so that N ranks draw what one process draws for their joint batch.

    Args:
        draw: draws rows for a number of items.
        items: number of items of this rank; every rank has as many.
    """
    seed = int(from_first_rank(torch.randint(2**31 - 1, (1,))))
    first = own_rank() * items
    # what is drawn must not depend on the number of ranks, and what is drawn afterwards neither
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return tuple(rows[first : first + items] for rows in draw(num_ranks() * items))


def standardised(vectors: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch places width"]:
    """Every channel with mean 0 and variance 1 over batch and places, of all ranks together."""
    mean = mean_over_ranks(vectors.mean((0, 1)))
    variance = mean_over_ranks(vectors.square().mean((0, 1))) - mean.square()
    return (vectors - mean) / (variance.clamp_min(0) + 1e-6).sqrt()


def signals_of(batch: Any) -> Tensor:
    """The signals of a batch, which may have lengths or labels beside them."""
    found: Tensor = batch if isinstance(batch, Tensor) else batch[0]
    return found
