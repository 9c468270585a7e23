"""Residual quantization whose codes depend on what was decoded before them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.beam import cheapest_prefix, cut_to_stages
from vqkit.quantize.checks import positive
from vqkit.quantize.losses import masked_mean
from vqkit.quantize.search import CHUNK_SCORES
from vqkit.quantize.straight_through import straight_through
from vqkit.quantize.vq import VQ
from vqkit.types import Float, Int

__all__ = ["QINCo"]

_FIT_STEPS, _FIT_BATCH, _FIT_RATE = (
    20,
    1024,
    2e-3,
)  # of Adam: steps for each iteration asked for, vectors a step, learning rate
_MAX_WIDTH = 1024  # of beam and candidates: a saved config may name any number


class _Condition(nn.Module):
    """c' = y + Σ blocks, y = c + W [c; x̂]; a block is y + V relu(U y). W and V start at 0: at first the codes are those of the table."""

    _frozen = False  # set by `Learner.requires_grad_`

    def __init__(self, dim: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.join = nn.Linear(2 * dim, dim)
        self.up = nn.ModuleList(nn.Linear(dim, hidden, bias=False) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(hidden, dim, bias=False) for _ in range(blocks))
        for layer in (self.join, *self.down):
            nn.init.zeros_(cast(nn.Linear, layer).weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, code: Float[Tensor, "*shape dim"], decoded: Float[Tensor, "*_ dim"]) -> Tensor:
        y = code + self._linear(self.join, torch.cat([code, decoded.expand_as(code)], dim=-1))
        for up, down in zip(self.up, self.down, strict=True):
            y = y + self._linear(down, F.relu(self._linear(up, y)))
        return y

    def _linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear)
        weight, bias = layer.weight.float(), None if layer.bias is None else layer.bias.float()
        if self._frozen:
            weight, bias = weight.detach(), None if bias is None else bias.detach()
        return F.linear(x, weight, bias)


class QINCo(Quantizer):
    """Residual VQ with implicit codebooks: stage m adds f_m(c, x̂_{m−1}), a code of its table changed by a small network that sees x̂_{m−1}.

    A stage looks at the ``candidates`` codes of its plain table that are nearest to the residual, and takes the one whose changed code is
    best. Tables and networks learn by gradient from ‖sg z − x̂_m‖² of all stages, so that the first stages decode alone.

    Args:
        dim: length of the vectors.
        codebook_size: codes of each stage.
        num_quantizers: stages; the first has no network.
        hidden: width of the networks' blocks.
        blocks: residual blocks of each network.
        candidates: codes of the plain table that each stage tries; all of them is the paper's exhaustive search.
        beam: sets of codes kept from stage to stage, in training as in `encode`; 1 is greedy.
        commitment_weight: weight of ‖z − sg x̂_m‖².
        codebook_weight: weight of ‖sg z − x̂_m‖².

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = QINCo(dim=8, codebook_size=16, num_quantizers=3, hidden=16)
        >>> q(torch.randn(2, 50, 8)).codes.shape, q.bits_per_vector
        (torch.Size([2, 50, 3]), 12.0)

    References:
        Huijben et al., "Residual quantization with implicit neural codebooks" (QINCo, 2024), arXiv:2401.14732, section 3; Vallaeys et al.,
        "Qinco2" (2025), arXiv:2501.03078, section 3.1 (candidates and beam).
    """

    _changeable_counts: ClassVar = {"candidates": _MAX_WIDTH, "beam": _MAX_WIDTH}

    straight_through = True

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_quantizers: int,
        *,
        hidden: int = 64,
        blocks: int = 1,
        candidates: int = 8,
        beam: int = 1,
        commitment_weight: float = 0.25,
        codebook_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim = positive("dim", dim)
        for name, value in {"num_quantizers": num_quantizers, "hidden": hidden, "blocks": blocks}.items():
            positive(name, value)
        for name, value in {"candidates": candidates, "beam": beam}.items():
            if positive(name, value) > _MAX_WIDTH:
                raise ValueError(f"{name} must be at most {_MAX_WIDTH}, got {value}")
        self.candidates, self.beam = candidates, beam
        self.commitment_weight, self.codebook_weight = commitment_weight, codebook_weight
        tables = [
            VQ(dim, codebook_size, update="gradient", commitment_weight=0.0, codebook_weight=0.0)
            for _ in range(num_quantizers)
        ]
        self.tables = cast("Sequence[VQ]", nn.ModuleList(tables))
        networks = [_Condition(dim, hidden, blocks) for _ in range(num_quantizers - 1)]
        self.networks = cast("Sequence[_Condition]", nn.ModuleList(networks))

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """The codebook size, once a stage."""
        return tuple(table.code_sizes[0] for table in self.tables)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """One code a stage."""
        return (1,) * len(self.tables)

    @property
    def codebook_numel(self) -> int:
        """Floats of the plain tables; the networks are not counted, as projections are not."""
        return sum(table.codebook_numel for table in self.tables)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the tables."""
        return self.tables[0].dtype

    # --- codes to vectors

    def _value(self, stage: int, code: Tensor, decoded: Tensor) -> Tensor:
        """What a stage adds, of a code of its plain table."""
        return code if stage == 0 else self.networks[stage - 1](code, decoded)

    def _prefixes(self, codes: Int[Tensor, "*shape codes"], stages: int) -> list[Float[Tensor, "*shape dim"]]:
        """x̂ after each stage; a code −1 adds nothing."""
        total = torch.zeros(*codes.shape[:-1], self.dim, dtype=torch.float32, device=codes.device)
        found = []
        for stage in range(stages):
            own = codes[..., stage]
            value = self._value(stage, self.tables[stage]._lookup(own), total)
            total = total + torch.where((own >= 0)[..., None], value, 0.0)
            found.append(total)
        return found

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self._prefixes(codes, stages)[-1]

    # --- vectors to codes

    def _searched(self, x: Float[Tensor, "vectors dim"], stages: int | None = None) -> tuple[list[Tensor], Tensor]:
        """Best codes of the first stage, of the first two, …, and their squared errors, as `best_prefixes` gives them."""
        per_vector = self.beam * max(self.candidates * (self.dim + self.networks_width), self.code_sizes[0])
        rows = max(1, CHUNK_SCORES // per_vector)
        chunks = [x] if torch.compiler.is_exporting() or x.shape[0] <= rows else list(x.split(rows))
        parts = [list(islice(self._beam(chunk), stages)) for chunk in chunks]
        steps = list(zip(*parts, strict=True))
        errors = [torch.cat([error for _, error in step]) for step in steps]
        return [torch.cat([codes for codes, _ in step]) for step in steps], torch.stack(errors, dim=1)

    @property
    def networks_width(self) -> int:
        """Width of the networks; 0 where there are none."""
        return cast(nn.Linear, self.networks[0].up[0]).out_features if len(self.networks) else 0

    def _beam(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        decoded, prefix = torch.zeros_like(x)[:, None], x.new_zeros(x.shape[0], 1, 0, dtype=torch.long)
        row = torch.arange(x.shape[0], device=x.device)[:, None]
        for stage, table in enumerate(self.tables):
            left = x[:, None] - decoded
            offered = min(self.candidates if stage else max(self.candidates, self.beam), table.code_sizes[0])
            codes = table.codebook.scores(left).topk(offered, dim=-1).indices
            values = self._value(stage, table._lookup(codes), decoded[:, :, None])
            errors = (left[:, :, None] - values).square().sum(dim=-1).flatten(start_dim=1)
            best, chosen = errors.topk(min(self.beam, errors.shape[1]), dim=1, largest=False)
            parent = chosen // offered
            prefix = torch.cat([prefix[row, parent], codes.flatten(start_dim=1)[row, chosen][..., None]], dim=-1)
            decoded = decoded[row, parent] + values.flatten(1, 2)[row, chosen]
            yield prefix[:, 0], best[:, 0]

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = self._searched(x.reshape(-1, self.dim))[0][-1].reshape(*x.shape[:-1], len(self.tables))
        return codes if mask is None else torch.where(mask[..., None], codes, -1)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        if type(self)._encode is not QINCo._encode:  # a subclass finds its codes in another way
            return super()._encode_first(x, mask, stages)
        codes = self._searched(x.reshape(-1, self.dim), stages)[0][-1].reshape(*x.shape[:-1], stages)
        return codes if mask is None else torch.where(mask[..., None], codes, -1)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        prefixes, errors = self._searched(x.reshape(-1, self.dim), stages)
        codes = cut_to_stages(prefixes, cheapest_prefix(errors, self.stage_bits[:stages], rate_weight))
        codes = codes.reshape(*x.shape[:-1], codes.shape[-1])
        return codes if mask is None else torch.where(mask[..., None], codes, -1)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        if self.training and not torch.compiler.is_compiling():
            self._start(x.detach(), mask)
        with torch.no_grad():
            codes = self._encode(x.detach(), mask)
        totals = self._prefixes(codes, len(self.tables))
        for stage, table in enumerate(self.tables):  # they count their use, and revive what is dead
            left = x.detach() if stage == 0 else x.detach() - totals[stage - 1].detach()
            table._quantize_to(left, mask, codes[..., stage : stage + 1])
        losses = {}
        share = 1 / len(totals)
        if self.commitment_weight:
            pulls = [masked_mean((x - total.detach()).square(), mask) for total in totals]
            losses["commitment"] = self.commitment_weight * share * torch.stack(pulls).sum()
        if self.codebook_weight:
            pulls = [masked_mean((x.detach() - total).square(), mask) for total in totals]
            losses["codebook"] = self.codebook_weight * share * torch.stack(pulls).sum()
        return straight_through(x, totals[-1]), codes, losses

    # --- start and fit

    @torch.no_grad()
    def _start(self, x: Tensor, mask: Tensor | None) -> None:
        if any(table.codebook.waits() for table in self.tables):
            total = torch.zeros_like(x)
            for stage, table in enumerate(self.tables):
                left = x - total if mask is None else torch.where(mask[..., None], x - total, 0.0)
                table._start(left, mask)
                code = table._lookup(table._encode(left, mask)[..., 0])
                total = total + self._value(stage, code, total).detach()

    def _fit(self, x: Tensor, iterations: int) -> None:
        """K-means stage by stage, then Adam on tables and networks."""
        total = torch.zeros_like(x)
        for stage, table in enumerate(self.tables):
            table._fit(x - total, iterations)
            total = total + self._value(stage, table._lookup(table._encode(x - total, None)[..., 0]), total)
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not learned or self._frozen:
            return
        steps = _FIT_STEPS * iterations
        optimizer = torch.optim.Adam(learned, _FIT_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
        scale = x.square().mean().clamp_min(1e-12)  # Adam's ε must be small beside the gradients
        with torch.enable_grad():
            for _ in range(steps):
                batch = x[torch.randint(len(x), (min(len(x), _FIT_BATCH),), device=x.device)]
                with torch.no_grad():
                    codes = self._searched(batch)[0][-1]
                totals = self._prefixes(codes, len(self.tables))
                loss = torch.stack([(batch - total).square().mean() for total in totals]).sum() / scale
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        optimizer.zero_grad()
