"""The phases of BRIDLE: encoder and tokenizer take turns, or learn together.

interleaved:  encoder 1 (cold start) ─ tokenizer 1 ─ encoder 2 ─ tokenizer 2 ─ … ─ encoder n
joint:        encoder 1 (cold start) ─ joint

References:
    BRIDLE (arXiv:2502.02118), sections 3.1 and 4.3 (phases), equation 8 (joint).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from vqkit.ranks import follow_first_rank
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import EntryAction, Phase

__all__ = ["BridlePhase", "FreshTokenizer", "KeepModel", "interleaved_phases", "joint_phases"]

_ENCODER, _TOKENIZER = ("bridle.encoder", "bridle.predictor"), ("bridle.tokenizer", "bridle.estimator")


@dataclass(frozen=True, kw_only=True)
class BridlePhase(Phase):
    """A phase of pretraining.

    Args:
        task: whether the encoder learns to predict codes, the tokenizer learns to make them, or both.
    """

    task: Literal["encoder", "tokenizer", "joint"] = "encoder"


@dataclass(frozen=True)
class FreshTokenizer:
    """On entry of a phase: tokenizer, codebooks and estimator begin anew, and codes come from the tokenizer's encoder from now on."""

    def __call__(self, module: Any) -> None:
        """Reset what learns."""
        module.bridle.tokenizer.reset_parameters()
        module.bridle.estimator.reset_parameters()
        module.bridle.tokenizer.trained.fill_(True)
        follow_first_rank(module.bridle)  # every rank drew its own


@dataclass(frozen=True)
class KeepModel:
    """On exit of a phase: save the model to a folder of the run.

    Args:
        name: name of the folder.
    """

    name: str

    def __call__(self, module: Any) -> None:
        """Save it, on the first rank."""
        folder = module.trainer.log_dir  # ranks exchange it: all have to ask
        if module.trainer.is_global_zero and folder:
            module.bridle.save_pretrained(Path(folder) / self.name)


def interleaved_phases(
    iterations: int,
    encoder: Optimisation,
    tokenizer: Optimisation,
    shares: tuple[float, float],
    evaluation: EntryAction | None = None,
) -> tuple[BridlePhase, ...]:
    """The published phases.

    Args:
        iterations: number of encoder phases.
        encoder: optimisation of every encoder phase.
        tokenizer: optimisation of every tokenizer phase.
        shares: steps of an encoder phase and of a tokenizer phase, in proportion.
        evaluation: what follows on every encoder phase.

    Raises:
        ValueError: no iteration.

    Example:
        >>> phases = interleaved_phases(2, Optimisation(), Optimisation(), (130, 30))
        >>> [phase.name for phase in phases]
        ['encoder 1', 'tokenizer 1', 'encoder 2']
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    found: list[BridlePhase] = []
    for number in range(1, iterations + 1):
        kept = () if number == iterations else (KeepModel(f"iteration-{number}"),)
        after = (*kept, *(() if evaluation is None else (evaluation,)))
        found.append(
            BridlePhase(name=f"encoder {number}", share=shares[0], trains=_ENCODER, optimisation=encoder, on_exit=after)
        )
        if number < iterations:
            found.append(
                BridlePhase(
                    name=f"tokenizer {number}",
                    task="tokenizer",
                    share=shares[1],
                    trains=_TOKENIZER,
                    optimisation=tokenizer,
                    on_entry=(FreshTokenizer(),),
                )
            )
    return tuple(found)


def joint_phases(
    encoder: Optimisation, shares: tuple[float, float], evaluation: EntryAction | None = None
) -> tuple[BridlePhase, ...]:
    """A cold start, then encoder and tokenizer together (equation 8).

    Args:
        encoder: optimisation of both.
        shares: steps of the cold start and of what follows, in proportion.
        evaluation: what follows on each.
    """
    first, *_ = interleaved_phases(2, encoder, encoder, shares, evaluation)
    joint = BridlePhase(
        name="joint",
        task="joint",
        share=shares[1],
        trains=(*_ENCODER, *_TOKENIZER),
        optimisation=encoder,
        on_entry=(FreshTokenizer(),),
        on_exit=() if evaluation is None else (evaluation,),
    )
    return replace(first), joint


def decaying(parameters: list[torch.nn.Parameter], decay: bool) -> list[torch.nn.Parameter]:
    """Matrices decay, biases, norms and tokens do not."""
    return [parameter for parameter in parameters if (sum(size > 1 for size in parameter.shape) > 1) == decay]
