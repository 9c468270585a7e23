"""Output heads: they predict the codes at a position from the transformer's state there."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, LlamaConfig, LlamaModel

from vqkit.types import Bool, Float, Int

__all__ = ["Choose", "CodeHeads", "DepthHead", "LinearHeads", "llama"]

Choose = Callable[[Float[Tensor, "rows code_size"]], Int[Tensor, " batch"]]
"""Picks codes by their logits; see `vqkit.models.generator.sampling.Sampler`."""


def llama(width: int, layers: int, heads: int, positions: int) -> LlamaModel:
    """Llama's decoder blocks without an embedding of their own; it is given vectors.

    Args:
        width: length of a vector.
        layers: number of blocks.
        heads: attention heads; divides the width into even parts.
        positions: most positions of a sequence.
    """
    config = LlamaConfig(
        vocab_size=1,
        hidden_size=width,
        # Llama's SwiGLU has three matrices: 8/3 · width, rounded up to 32, has the parameters of the usual 4 · width
        intermediate_size=-(-8 * width // 96) * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        initializer_range=0.4 * width**-0.5,  # 0.02 at 400; narrow models start with larger weights
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaModel(config)
    model.embed_tokens = nn.Identity()  # type: ignore[assignment]  # vectors are given: no weights that never learn
    return model


class CodeHeads(nn.Module):
    """Predicts the codes of positions from the states of the transformer.

    Args:
        code_sizes: alphabet of each code.
        width: length of the states.
        out_width: length of the vectors that the output layer takes.
    """

    def __init__(self, code_sizes: Sequence[int], width: int, out_width: int) -> None:
        super().__init__()
        self.code_sizes, self.width = tuple(code_sizes), width
        self.ends = tuple(accumulate(code_sizes))
        self.out = nn.Linear(out_width, sum(code_sizes), bias=False)
        nn.init.normal_(self.out.weight, std=0.02)  # logits near 0: a start at the entropy of equal codes

    def logits(self, vectors: Float[Tensor, "*rows width"], code: int) -> Float[Tensor, "*rows code_size"]:
        """Logits of one code."""
        end, size = self.ends[code], self.code_sizes[code]
        return functional.linear(vectors, self.out.weight[end - size : end])

    @abstractmethod
    def code_logits(
        self,
        states: Float[Tensor, "batch positions width"],
        sequence: Int[Tensor, "batch positions num_codes"],
        held: Bool[Tensor, "positions num_codes"],
    ) -> list[Float[Tensor, "batch frames code_size"]]:
        """Logits of each code at the positions that hold one, given the sequence itself (teacher forcing)."""

    @abstractmethod
    def choose(
        self,
        state: Float[Tensor, "rows width"],
        known: Int[Tensor, "batch num_codes"],
        held: Bool[Tensor, " num_codes"],
        choose: Choose,
    ) -> Int[Tensor, "batch num_codes"]:
        """Choose the codes of one position.

        Args:
            state: state of the transformer; ``rows`` is the batch, or twice that with guidance (conditioned, then unconditioned).
            known: codes that are given, −1 where one is to be chosen.
            held: True for the codes that lie at the position.
            choose: picks codes by logits of all rows.

        Returns:
            The codes; −1 where none lies.
        """


class LinearHeads(CodeHeads):
    """A linear layer for each code: the codes of a position are independent given the past.

    Args:
        code_sizes: alphabet of each code.
        width: length of the states.
    """

    def __init__(self, code_sizes: Sequence[int], width: int) -> None:
        super().__init__(code_sizes, width, width)

    def code_logits(self, states: Tensor, sequence: Tensor, held: Tensor) -> list[Tensor]:
        """Logits of each code at all positions, see `CodeHeads`."""
        return [self.logits(states[:, held[:, code]], code) for code in range(len(self.code_sizes))]

    def choose(self, state: Tensor, known: Tensor, held: Tensor, choose: Choose) -> Tensor:
        """Codes of one position, one after the other, see `CodeHeads`."""
        found = known.clone()
        for code in held.nonzero()[:, 0].tolist():
            if bool((known[:, code] < 0).any()):
                chosen = choose(self.logits(state, code))
                found[:, code] = torch.where(known[:, code] < 0, chosen, known[:, code])
        return found


class DepthHead(CodeHeads):
    """A small transformer over the codes of one position, which predicts them one after the other.

    Args:
        code_sizes: alphabet of each code.
        width: length of the states.
        layers: blocks.
        heads: attention heads; divides the width.

    References:
        Lee et al., "Autoregressive image generation using residual quantization" (2022), arXiv:2203.01941, section 3.2 (depth transformer).
    """

    def __init__(self, code_sizes: Sequence[int], width: int, layers: int, heads: int) -> None:
        super().__init__(code_sizes, width, width)
        self.before = nn.Embedding(sum(code_sizes), width)
        self.which = nn.Parameter(torch.zeros(len(code_sizes), width))
        nn.init.normal_(self.before.weight, std=0.02)
        nn.init.normal_(self.which, std=0.02)
        self.transformer = llama(width, layers, heads, len(code_sizes))

    def _embedded(self, code: Int[Tensor, "*rows"], which: int) -> Float[Tensor, "*rows width"]:
        """Embed the codes of one kind; zeros where there is none."""
        found = self.before(code.clamp_min(0) + (self.ends[which] - self.code_sizes[which]))
        return found * (code >= 0)[..., None]

    def code_logits(self, states: Tensor, sequence: Tensor, held: Tensor) -> list[Tensor]:
        """Logits of each code at all positions, see `CodeHeads`."""
        rows, codes = states.shape[0] * states.shape[1], len(self.code_sizes)
        earlier = [self._embedded(sequence[..., code].reshape(rows), code) for code in range(codes - 1)]
        inputs = torch.stack([torch.zeros_like(states.reshape(rows, -1)), *earlier], dim=1)
        inputs = inputs + states.reshape(rows, 1, -1) + self.which
        made = self.transformer(inputs_embeds=inputs, use_cache=False).last_hidden_state
        made = made.view(*states.shape[:2], codes, -1)
        return [self.logits(made[:, held[:, code], code], code) for code in range(codes)]

    def choose(self, state: Tensor, known: Tensor, held: Tensor, choose: Choose) -> Tensor:
        """Codes of one position, one after the other, see `CodeHeads`."""
        found, branches = known.clone(), len(state) // len(known)
        cache = DynamicCache(config=self.transformer.config)
        before = torch.zeros_like(state)
        last = int(held.nonzero()[-1])
        for code in range(last + 1):
            inputs = (state + before + self.which[code])[:, None]
            made = self.transformer(inputs_embeds=inputs, past_key_values=cache, use_cache=True).last_hidden_state
            if held[code] and bool((known[:, code] < 0).any()):
                chosen = choose(self.logits(made[:, 0], code))
                found[:, code] = torch.where(known[:, code] < 0, chosen, known[:, code])
            before = self._embedded(found[:, code].repeat(branches), code)
        return found
