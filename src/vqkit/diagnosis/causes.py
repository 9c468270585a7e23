"""From numbers to causes: what is wrong, judged by what was measured and by what the trials gained.

Thresholds are meant to stay silent on a quantizer that was fitted to vectors of the same kind: each is some times what chance makes of
the number there (tests/diagnosis).
"""

from collections.abc import Iterator

from vqkit.diagnosis.codebook_rules import CODEBOOK_RULES
from vqkit.diagnosis.evidence import NOTHING_LEFT, Evidence, best_gain, decibels_between
from vqkit.diagnosis.finding import Cause, Finding, Gain, Severity

__all__ = ["find_causes"]

_BALANCE_DB = 0.5  # that a rotation gains on top of a refit
_UNEVEN_DB = 0.5  # arithmetic over geometric mean of the pieces
_SIZES_DB = 1.0
_SAVED = 0.15  # share of the bits that an entropy coder saves
_IDENTICAL = 0.05  # share of the vectors that are one vector


def find_causes(evidence: Evidence) -> tuple[Finding, ...]:
    """The findings, faults first; each part of the quantizer is blamed for one cause only, the first that explains it."""
    blamed: set[str] = set()
    found: list[Finding] = [*_ranks(evidence), *_masks(evidence)]
    for finding in found:
        blamed |= set(finding.where)
    for rule in CODEBOOK_RULES:
        for finding in rule(evidence, blamed):
            found.append(finding)
            blamed |= set(finding.where)
    found += _balance(evidence)
    # a consequence of what was found already is not advised against
    if not any(finding.severity == Severity.FAULT or finding.cause == Cause.TOO_FEW_VECTORS for finding in found):
        found += [*_sizes(evidence), *_skew(evidence)]
    return tuple(sorted(found, key=lambda finding: finding.severity != Severity.FAULT))


def _ranks(evidence: Evidence) -> Iterator[Finding]:
    if evidence.ranks:
        most = max(evidence.ranks.values())
        yield Finding(
            Cause.RANKS,
            Severity.FAULT,
            tuple(evidence.ranks),
            f"{len(evidence.ranks)} tensors are not the same on all ranks; up to {most} ranks differ from rank 0.",
            "give all ranks rank 0's tensors (vqkit.ranks.follow_first_rank), call every training forward on all ranks, and keep "
            "the quantizer inside of the module that DDP or fully_shard wraps.",
        )


def _masks(evidence: Evidence) -> Iterator[Finding]:
    if evidence.leaks:
        yield Finding(
            Cause.MASK,
            Severity.FAULT,
            (),
            f"With other numbers at masked positions: {'; '.join(evidence.leaks)}.",
            "zero the input, the codes and the sums where the mask is False, in forward and in learning.",
        )
    if evidence.padding:
        count = sum(evidence.padding.values())
        yield Finding(
            Cause.MASK,
            Severity.FAULT,
            tuple(evidence.padding),
            f"{count} codes lie on the padding and serve next to no real vector: the codebook learned without the mask.",
            "pass mask= (or lengths=) in training too, then refit on real vectors.",
            best_gain(evidence, evidence.trials.refit),
        )
    elif not evidence.leaks and evidence.measures.identical > _IDENTICAL:
        yield Finding(
            Cause.MASK,
            Severity.ADVICE,
            (),
            f"{evidence.measures.identical:.0%} of the vectors are one and the same vector: padding or silence that no mask hides.",
            "pass mask= where it is padding; leave silence out of what codebooks learn from.",
        )


def _balance(evidence: Evidence) -> Iterator[Finding]:
    trials = evidence.trials
    uneven = [product for product in evidence.measures.balance if product.unevenness_db > _UNEVEN_DB]
    if trials.rotation is None or trials.refit is None or evidence.measures.error < NOTHING_LEFT:
        return
    gained = decibels_between(trials.refit.error, trials.rotation.error)
    if gained < _BALANCE_DB:
        return
    first = evidence.measures.balance[0]
    shares = f"the largest has {max(first.shares):.0%} of the variance and the smallest {min(first.shares):.1%}"
    why = shares if uneven else "they are alike in size but see the same directions"
    yield Finding(
        Cause.BALANCE,
        Severity.FAULT,
        tuple(product.name for product in uneven),
        f"The pieces of the latent are not worth the same: {why}. A refit alone leaves {trials.refit.error:.3g} of the variance, after a "
        f"rotation it is {trials.rotation.error:.3g} ({gained:.1f} dB).",
        "turn the latent with vqkit.nn.balanced_rotation (model.rotate_latent), and refit.",
        best_gain(evidence, trials.rotation),
    )


def _sizes(evidence: Evidence) -> Iterator[Finding]:
    refit, sizes = evidence.trials.refit, evidence.trials.sizes
    if refit is None or not sizes or evidence.measures.error < NOTHING_LEFT:
        return
    best = min(sizes, key=lambda trial: trial.error)
    if decibels_between(min(refit.error, evidence.measures.error), best.error) > _SIZES_DB:
        floats = f"{refit.codebook_numel:,} → {best.codebook_numel:,} floats of codebook"
        yield Finding(
            Cause.SIZES,
            Severity.ADVICE,
            (),
            f"Other codebook sizes lose less at the same bits ({floats}).",
            f"use {best.change}.",
            best_gain(evidence, best),
        )


def _skew(evidence: Evidence) -> Iterator[Finding]:
    rates = evidence.rates
    if rates.best < (1 - _SAVED) * rates.plain:
        context = rates.context is not None and rates.context == rates.best
        why = "follow from the codes around them" if context else "are not equally frequent"
        yield Finding(
            Cause.SKEW,
            Severity.ADVICE,
            (),
            f"Codes {why}: {rates.plain:.2f} bits a vector as plain bits, {rates.best:.2f} through the entropy coder.",
            "fit the probabilities (vqkit fit-prior), or make the codebooks smaller by what is not used.",
            Gain("context coder" if context else "a table a code", "bits", rates.plain, rates.best),
        )
