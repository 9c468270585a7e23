"""Sampling from a `TokenGenerator`: position after position, or group after group, in windows where the stream is longer than one."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaModel

from vqkit.counts import is_whole
from vqkit.models.generator.heads import CodeHeads
from vqkit.models.generator.patterns import TokenPattern
from vqkit.models.generator.sampling import Sampler, Sampling
from vqkit.types import Float, Int

__all__ = ["Generating", "generate"]


class Generating(Protocol):
    """Interface of a model that sampling relies on; `TokenGenerator` documents it."""

    window: int
    pattern: TokenPattern
    heads: CodeHeads
    transformer: LlamaModel
    first: torch.nn.Parameter
    training: bool

    @property
    def num_codes(self) -> int:
        """Number of codes in a frame."""

    def check(self, codes: Tensor | None, classes: Tensor | None, condition: Tensor | None) -> None:
        """Refuse codes, classes or conditions that do not fit the model."""

    def inputs(self, sequence: Tensor, start: int, stop: int) -> Tensor:
        """Return the inputs of positions ``start`` to ``stop`` − 1, which are embeddings of earlier codes."""

    def visible(self, start: int, stop: int) -> Tensor | None:
        """Return the attention mask of positions ``start`` to ``stop`` − 1; None for a causal one."""

    def context(
        self,
        slots: Tensor,
        batch: int,
        first_frame: int,
        classes: Tensor | None,
        condition: Tensor | None,
        hidden: Tensor,
    ) -> Tensor:
        """Return the embedding of all that is known of each position apart from codes: slot, cell, class, condition."""

    def train(self, mode: bool = True) -> object:
        """Set the mode."""


def generate(
    model: Generating,
    steps: int,
    batch: int,
    classes: Int[Tensor, " batch"] | None,
    condition: Float[Tensor, "batch frames condition_dim"] | Callable[[int, int], Tensor] | None,
    prefix: Int[Tensor, "batch frames num_codes"] | None,
    how: Sampling,
    cache: bool,
    watch: Callable[[float], None],
) -> Int[Tensor, "batch steps num_codes"]:
    """See `TokenGenerator.generate`."""
    whole = None if callable(condition) else condition
    model.check(prefix, classes, whole)
    given = [len(value) for value in (classes, whole, prefix) if value is not None]
    items = given[0] if given else batch
    known = 0 if prefix is None else prefix.shape[1]
    if not is_whole(steps) or not is_whole(batch):
        raise ValueError(f"steps and batch must be integers, got {steps!r} and {batch!r}")
    if given and batch not in (1, items):
        raise ValueError(f"batch is {batch} beside classes, condition or prefix of {items} items: leave it out")
    if items < 1 or any(count != items for count in given):
        raise ValueError(f"classes, condition and prefix must be of one batch of at least 1, got {given or batch}")
    if steps < 1 or steps < known:
        raise ValueError(f"steps must be at least 1 and not below the {known} frames of the prefix, got {steps}")
    if whole is not None and whole.shape[1] != steps:
        raise ValueError(f"the condition has {whole.shape[1]} frames, the result {steps}")
    sampler = Sampler(how)
    if sampler.guided and classes is None and condition is None:
        raise ValueError(f"guidance={how.guidance} needs a class or a condition")
    device = model.first.device
    codes = torch.full((items, steps, model.num_codes), -1, device=device)
    if prefix is not None:
        codes[:, :known] = prefix.long().to(device)
    classes = None if classes is None else classes.long()
    was_training = model.training
    model.train(False)
    try:
        first = max(0, known - model.window // 2) if steps > model.window else 0
        while True:
            last = min(first + model.window, steps)
            shown = condition(first, last) if callable(condition) else whole
            if whole is not None:
                shown = whole[:, first:last]
            if condition is not None and shown is None:
                raise TypeError("condition must return a torch.Tensor, got None")
            model.check(None, None, shown)
            size = (items, last - first)
            if shown is not None and shown.shape[:2] != size:
                got = tuple(shown.shape[:2])
                raise ValueError(
                    f"condition must return (batch, frames) = {size} for frames {first} to {last}, got {got}"
                )
            window = _Window(
                model, codes[:, first:last], first, classes, None if shown is None else shown.to(device), sampler
            )
            begin, end = known / steps, last / steps
            codes[:, first:last] = window.fill(cache, lambda share, b=begin, e=end: watch(b + share * (e - b)))  # type: ignore[misc]
            known = last
            if last == steps:
                return codes
            first = last - max(1, model.window // 2)
    finally:
        model.train(was_training)


class _Window:
    """Frames that the model sees at once, some of them known.

    With guidance every row is there twice: with its condition, then without.
    """

    def __init__(
        self,
        model: Generating,
        codes: Int[Tensor, "batch frames num_codes"],
        first_frame: int,
        classes: Tensor | None,
        condition: Tensor | None,
        sampler: Sampler,
    ) -> None:
        self.model, self.sampler, self.frames = model, sampler, codes.shape[1]
        self.sequence = model.pattern.arrange(codes)
        self.slots = model.pattern.slots(self.frames, model.num_codes).to(codes.device)
        shown = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
        with_it = model.context(self.slots, len(codes), first_frame, classes, condition, shown)
        without = model.context(self.slots, len(codes), first_frame, None, None, shown)
        if sampler.guided:
            self.context = torch.cat([with_it, without])
        else:
            self.context = with_it if sampler.how.guidance else without

    def fill(self, cache: bool, watch: Callable[[float], None]) -> Int[Tensor, "batch frames num_codes"]:
        """Choose the codes that are not known, and return all."""
        held = self.slots >= 0
        missing = (held & (self.sequence < 0).any(dim=0)).any(dim=1).nonzero()[:, 0].tolist()
        if not missing:
            return self.model.pattern.restore(self.sequence, self.frames)
        past = DynamicCache(config=self.model.transformer.config) if cache else None
        seen = 0  # positions that the cache holds
        for begin, end in self.model.pattern.spans(len(held)):
            if end <= missing[0]:
                continue
            states = self._states(seen, end, past)[:, begin - end :]
            seen = end if cache else 0
            # the positions of a group are rows like those of the batch: nothing of one is seen by another
            known, count = self.sequence[:, begin:end], end - begin
            flat = self.model.heads.choose(states.flatten(0, 1), known.flatten(0, 1), held[begin], self.sampler)
            self.sequence[:, begin:end] = flat.unflatten(0, (-1, count))
            watch((end - missing[0]) / (len(held) - missing[0]))
        return self.model.pattern.restore(self.sequence, self.frames)

    def _states(self, start: int, stop: int, past: DynamicCache | None) -> Float[Tensor, "rows positions width"]:
        """The transformer's states at positions ``start`` to ``stop`` − 1, given the cache of those before."""
        model, sequence = self.model, self.sequence
        branches = len(self.context) // len(sequence)
        inputs = model.inputs(sequence, start, stop).repeat(branches, 1, 1) + self.context[:, start:stop]
        mask, cached = model.visible(start, stop), past is not None
        made = model.transformer(inputs_embeds=inputs, attention_mask=mask, past_key_values=past, use_cache=cached)
        states: Tensor = made.last_hidden_state
        return states
