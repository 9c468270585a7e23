"""A decoder-only transformer over the codes of a tokenizer.

codes (batch, frames, num_codes) ─ pattern ─ sequence (batch, positions, num_codes)
 ├─ of the position before (or the cell above) ────┐
 └─ which codes come, cell of the grid ───────────┼─ Llama blocks ─ heads ─ logits of the codes of each position
    class, condition of the frame ────────────────┘
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.models.generator import generation
from vqkit.models.generator.checks import check_inputs, check_settings, check_types, preset_sizes
from vqkit.models.generator.heads import CodeHeads, DepthHead, LinearHeads, llama
from vqkit.models.generator.patterns import Delay, NextScale, TokenPattern, read_pattern
from vqkit.models.generator.sampling import Sampling
from vqkit.models.hub import HubModel
from vqkit.quantize.pretrained import expression
from vqkit.types import Bool, Float, Int

__all__ = ["TokenGenerator"]


class TokenGenerator(HubModel, coders={TokenPattern: (expression, read_pattern)}):
    """Models sequences of codes, one frame after the other, and samples from them.

    Args:
        code_sizes: alphabet of each code of a frame, such as ``quantizer.code_sizes`` (see also `vqkit.models.generator.packing`).
        pattern: which codes are predicted together; `Delay` by default.
        width: width of the transformer.
        layers: blocks of the transformer.
        heads: attention heads; divides the width into even parts.
        depth_layers: blocks of a second, small transformer over the codes of one position; 0 has a linear layer for each code.
        window: most frames that the model sees at once; training crops have at most as many, and longer streams are generated in
            windows that overlap by half. With `NextScale` it is the number of cells of all its grids, and streams have as many.
        grid: cells of a picture, such as (rows, columns): each gets an embedding of its own. Empty for streams without such places.
        classes: names of the classes that a stream may be conditioned on.
        condition_dim: length of a vector that conditions a frame, which is scaled to unit mean square; 0 without.
        condition_dropout: share of the training items whose class and condition are hidden, for classifier-free guidance.
        tokens_of: hash of the weights of the tokenizer whose codes these are; training fills it in from the token files.

    Attributes:
        tokens_of: hash of the tokenizer's weights, as given.

    Raises:
        TypeError: an argument of another type.
        ValueError: an argument out of range.

    Example:
        >>> generator = TokenGenerator((64, 64), width=32, layers=1, heads=2, window=16).eval()
        >>> codes = generator.generate(10, seed=1)
        >>> codes.shape, generator(codes).shape, torch.equal(codes, generator.generate(10, seed=1))
        (torch.Size([1, 10, 2]), torch.Size([1, 10, 2]), True)

    References:
        IVQ, section 3.3 (decoder-only, 24 layers of width 1024, in the paper); Copet et al., "Simple and controllable music generation"
        (2023), arXiv:2306.05284 (patterns); Touvron et al., "LLaMA" (2023), arXiv:2302.13971 (the blocks, of transformers).
    """

    saved_as = "generator"

    def __init__(
        self,
        code_sizes: Sequence[int],
        pattern: TokenPattern | None = None,
        *,
        width: int = 256,
        layers: int = 6,
        heads: int = 4,
        depth_layers: int = 0,
        window: int = 512,
        grid: Sequence[int] = (),
        classes: Sequence[str] = (),
        condition_dim: int = 0,
        condition_dropout: float = 0.1,
        tokens_of: str = "",
    ) -> None:
        super().__init__()
        check_types(code_sizes, pattern, grid, classes)
        check_settings(
            code_sizes, width, layers, heads, depth_layers, window, grid, classes, condition_dim, condition_dropout
        )
        self.code_sizes, self.pattern = tuple(code_sizes), pattern or Delay()
        self.window, self.grid, self.classes = window, tuple(grid), tuple(classes)
        self.condition_dim, self.condition_dropout, self.tokens_of = condition_dim, condition_dropout, tokens_of
        positions = len(self.pattern.slots(window, len(self.code_sizes)))
        self.transformer = llama(width, layers, heads, positions)
        self.heads: CodeHeads = (
            DepthHead(code_sizes, width, depth_layers, heads) if depth_layers else LinearHeads(code_sizes, width)
        )
        self.embedding = nn.Embedding(sum(code_sizes), width)
        self.first = nn.Parameter(torch.empty(width))  # before the first position
        self.coming = nn.Parameter(torch.empty(len(code_sizes), width))  # which codes lie at a position
        self.cells = nn.ParameterList([torch.empty(side, width) for side in self.grid])
        for parameter in (self.embedding.weight, self.first, self.coming, *self.cells):
            nn.init.normal_(parameter, std=0.02)
        # grids of different sizes lie at positions that the transformer's own counting does not tell apart
        joint = isinstance(self.pattern, NextScale)
        self.places = nn.Parameter(0.02 * torch.randn(positions, width)) if joint else None
        self._offsets = [end - size for end, size in zip(accumulate(code_sizes), code_sizes, strict=True)]
        if self.classes:
            self.class_embedding = nn.Embedding(len(self.classes) + 1, width)  # the last one: no class
            nn.init.normal_(self.class_embedding.weight, std=0.02)
        if condition_dim:
            # as large as a code's embedding at first: latents of any scale would otherwise drown the codes
            self.condition_in = nn.Linear(condition_dim, width)
            nn.init.normal_(self.condition_in.weight, std=0.02 * condition_dim**-0.5)
            nn.init.zeros_(self.condition_in.bias)
            self.no_condition = nn.Parameter(torch.zeros(width))

    @classmethod
    def preset(cls, name: str, code_sizes: Sequence[int], **options: Any) -> "TokenGenerator":
        """A generator of a size by name: tiny, small, or paper (IVQ's); options are further arguments, which go before the size's."""
        return cls(code_sizes, **(preset_sizes(name) | options))

    @property
    def num_codes(self) -> int:
        """Codes of a frame."""
        return len(self.code_sizes)

    def class_index(self, name: str) -> int:
        """The number of a class.

        Raises:
            ValueError: there is no such class; the message names those that there are.
        """
        if name not in self.classes:
            known = f"has {', '.join(self.classes)}" if self.classes else "has no classes"
            raise ValueError(f"class {name!r} does not exist: this generator {known}")
        return self.classes.index(name)

    # --- likelihood

    def forward(
        self,
        codes: Int[Tensor, "batch frames num_codes"],
        *,
        classes: Int[Tensor, " batch"] | None = None,
        condition: Float[Tensor, "batch frames condition_dim"] | None = None,
    ) -> Float[Tensor, "batch frames num_codes"]:
        """Negative log-likelihood of each code given those before it, in nats; 0 where a code is −1.

        Args:
            codes: codes of at most `window` frames, of any integer dtype; −1 where there is none, such as behind the end of an item.
            classes: number of each item's class, −1 for none; None has none for all.
            condition: a vector for each frame; None has none.

        Raises:
            TypeError: codes or classes are not integers, or a condition is no tensor.
            ValueError: shapes that do not fit, codes or classes out of range, or a class or condition that the generator does not take.
        """
        self.check(codes, classes, condition)
        # files hold the smallest integers that fit, while losses and embeddings take int64
        codes, classes = codes.long(), None if classes is None else classes.long()
        if condition is not None and condition.shape[:2] != codes.shape[:2]:
            raise ValueError(f"condition has shape {tuple(condition.shape)} beside codes of {tuple(codes.shape)}")
        if classes is not None and len(classes) != len(codes):
            raise ValueError(f"there are {len(classes)} classes for {len(codes)} items")
        if codes.shape[1] > self.window:
            raise ValueError(f"the window has {self.window} frames, got {codes.shape[1]}")
        if self.training and self.condition_dropout:
            hidden = torch.rand(len(codes), device=codes.device) < self.condition_dropout
            classes = None if classes is None else torch.where(hidden, -1, classes)
        else:
            hidden = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
        sequence = self.pattern.arrange(codes)
        slots = self.pattern.slots(codes.shape[1], self.num_codes).to(codes.device)
        positions = len(slots)
        inputs = self.inputs(sequence, 0, positions) + self.context(slots, len(codes), 0, classes, condition, hidden)
        mask = self.visible(0, positions)
        states = self.transformer(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state
        logits = self.heads.code_logits(states, sequence, slots >= 0)
        losses = [
            functional.cross_entropy(made.float().movedim(-1, 1), codes[..., code], ignore_index=-1, reduction="none")
            for code, made in enumerate(logits)
        ]
        return torch.stack(losses, dim=-1)

    def inputs(
        self, sequence: Int[Tensor, "batch known num_codes"], start: int, stop: int
    ) -> Float[Tensor, "batch positions width"]:
        """Return the inputs of positions ``start`` to ``stop`` − 1: the earlier codes that the pattern names, embedded; first the start."""
        source = self.pattern.sources(stop)[start:stop].to(sequence.device)
        seen = self.embedded(sequence[:, source.clamp_min(0)])
        return torch.where((source < 0)[:, None], self.first, seen)

    def visible(self, start: int, stop: int) -> Bool[Tensor, "1 1 positions keys"] | None:
        """Mark the positions before ``stop`` that each position from ``start`` on attends to; None for plain causal attention."""
        if not isinstance(self.pattern, NextScale):
            return None
        device = self.first.device
        group = torch.cat([torch.full((end - begin,), n) for n, (begin, end) in enumerate(self.pattern.spans(stop))])
        return (group[start:stop, None] >= group[:stop]).to(device)[None, None]

    def embedded(self, sequence: Int[Tensor, "batch positions num_codes"]) -> Float[Tensor, "batch positions width"]:
        """The sum of the embeddings of a position's codes."""
        ids = sequence.clamp_min(0) + torch.tensor(self._offsets, device=sequence.device)
        return (self.embedding(ids) * (sequence >= 0)[..., None]).sum(dim=-2)

    def context(
        self,
        slots: Int[Tensor, "positions num_codes"],
        batch: int,
        first_frame: int,
        classes: Int[Tensor, " batch"] | None,
        condition: Float[Tensor, "batch frames condition_dim"] | None,
        hidden: Tensor,
    ) -> Float[Tensor, "batch positions width"]:
        """Embed all that is known of each position apart from codes: the kinds of code it holds, its cell, its class, its condition.

        Args:
            slots: slots of the frames at hand, see `TokenPattern.slots`.
            batch: number of items.
            first_frame: number of the first frame in the whole stream.
            classes: class of each item, as in `forward`.
            condition: condition of the frames at hand.
            hidden: items whose condition is not shown.
        """
        found = (slots >= 0).to(self.coming.dtype) @ self.coming
        newest = slots.amax(dim=1)  # the frame that a position begins, or the last of those that it goes on with
        if self.places is not None:
            found = found + self.places[newest]
        cell = (newest + first_frame) % max(1, prod(self.grid))
        for side, places in zip(reversed(self.grid), reversed(list(self.cells)), strict=True):
            found, cell = found + places[cell % side], cell // side
        made = found.expand(batch, -1, -1)
        if self.classes:
            none = torch.full((batch,), -1, device=slots.device)
            chosen = none if classes is None else classes.to(slots.device)
            made = made + self.class_embedding(torch.where(chosen < 0, len(self.classes), chosen))[:, None]
        if self.condition_dim:
            if condition is None:
                return made + self.no_condition
            vectors = functional.rms_norm(condition.to(self.no_condition), (self.condition_dim,))
            shown = self.condition_in(vectors[:, newest])
            made = made + torch.where(hidden[:, None, None], self.no_condition, shown)
        return made

    # --- sampling

    @torch.no_grad()
    def generate(
        self,
        steps: int,
        *,
        batch: int = 1,
        classes: Int[Tensor, " batch"] | None = None,
        condition: Float[Tensor, "batch frames condition_dim"] | Callable[[int, int], Tensor] | None = None,
        prefix: Int[Tensor, "batch frames num_codes"] | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        guidance: float = 1.0,
        seed: int = 0,
        cache: bool = True,
        watch: Callable[[float], None] = lambda share: None,
    ) -> Int[Tensor, "batch steps num_codes"]:
        """Sample streams of any length.

        Args:
            steps: frames of the result, those of the prefix included. Beyond `window` frames the stream grows by half windows, each of
                which sees the half before it.
            batch: number of streams, where neither classes, condition nor prefix say it.
            classes: number of each stream's class, −1 for none.
            condition: a vector for each frame of the result; or a function that gives those of frames ``first`` to ``last`` − 1, for
                streams whose conditions need not be in memory at once.
            prefix: first frames of the result, which are continued.
            temperature: this and all that follow are explained in `vqkit.models.generator.sampling.Sampling`.
            top_k: most codes to choose from.
            top_p: probability of those to choose from.
            guidance: strength of classifier-free guidance.
            seed: seed of the random numbers; the same seed gives the same codes.
            cache: keep keys and values of earlier positions; without it the result is the same, slower.
            watch: called with the share that is done.

        Returns:
            The codes.

        Raises:
            TypeError: prefix or classes are not integers, or a condition is no tensor.
            ValueError: an argument out of range or of a wrong shape, a condition with NaN or Inf, or guidance without class and condition.
        """
        how = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, guidance=guidance, seed=seed)
        return generation.generate(self, steps, batch, classes, condition, prefix, how, cache, watch)

    def check(self, codes: Tensor | None, classes: Tensor | None, condition: Tensor | None) -> None:
        """See that codes, classes and condition are such as this generator takes; errors as in `forward`."""
        check_inputs(self.code_sizes, len(self.classes), self.condition_dim, codes, classes, condition)

    def _save_pretrained(self, save_directory: Path) -> None:
        self._hub_mixin_config["tokens_of"] = self.tokens_of  # type: ignore[index]  # training has filled it in
        super()._save_pretrained(save_directory)
