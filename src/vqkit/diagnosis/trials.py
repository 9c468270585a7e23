"""Changes tried on copies: fitted to one half of the vectors, judged by the other. The quantizer itself is never touched."""

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vqkit.diagnosis.measures import error_share
from vqkit.diagnosis.sample import Sample
from vqkit.quantize import PVQ, RVQ, VQ, Product, Quantizer, Residual
from vqkit.quantize.balanced_rotation import balanced_rotation
from vqkit.quantize.codebook import Codebook

__all__ = ["Trial", "Trials", "run_trials"]

_ITERATIONS = 15  # of k-means
_ROUNDS = 3  # of revival
_SCALES = tuple(2.0**power for power in range(-6, 7))
_SCALE_VECTORS = 2048  # that choose the scale
_MOST_CODES = 1 << 12  # of a codebook of another size


@dataclass(frozen=True)
class Trial:
    """One change and what it leaves of the variance.

    Attributes:
        change: What was done, in a few words.
        error: Share of the variance that is lost on the judged vectors.
        stages: The same after each stage; empty where there are other stages than before.
        codebook_numel: Floats stored in codebooks.
    """

    change: str
    error: float
    stages: tuple[float, ...] = ()
    codebook_numel: int = 0


@dataclass(frozen=True)
class Trials:
    """All changes that make sense for a quantizer; None where one does not.

    Attributes:
        refit: Fitted anew, from a k-means start.
        revival: Only codes that nobody chose were replaced by vectors.
        rescaled: Vectors shifted and scaled by one number before, and back after.
        rotation: Vectors turned so that pieces get equal shares, and fitted anew.
        sizes: Other sizes at the same bits, fitted anew.
    """

    refit: Trial | None = None
    revival: Trial | None = None
    rescaled: Trial | None = None
    rotation: Trial | None = None
    sizes: tuple[Trial, ...] = ()

    def all(self) -> tuple[Trial, ...]:
        """Every trial that was made."""
        single = (self.refit, self.revival, self.rescaled, self.rotation)
        return tuple(trial for trial in (*single, *self.sizes) if trial is not None)


@torch.no_grad()
def run_trials(quantizer: Quantizer, sample: Sample, dead: bool) -> Trials:
    """Try changes.

    Args:
        quantizer: Quantizer in evaluation mode; copies of it are changed.
        sample: The vectors.
        dead: Whether there are codes to revive.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # too few vectors for k-means: that is a finding of its own
        torch.manual_seed(0)
        books = any(isinstance(module, Codebook) for module in quantizer.modules())
        return Trials(
            refit=_refit(quantizer, sample),
            revival=_revival(quantizer, sample) if dead and books else None,
            rescaled=_rescaled(quantizer, sample),
            rotation=_rotation(quantizer, sample),
            sizes=tuple(_sizes(quantizer, sample)),
        )


def _judged(change: str, quantizer: Quantizer, sample: Sample, stages: bool = False) -> Trial:
    error = error_share(quantizer, sample.judge, sample.masks)
    after = tuple(_stage_errors(quantizer, sample)) if stages else ()
    return Trial(change, error, after, quantizer.codebook_numel)


def _stage_errors(quantizer: Quantizer, sample: Sample) -> Iterator[float]:
    for stage in range(1, quantizer.num_stages + 1):
        yield error_share(_FirstStages(quantizer, stage), sample.judge, sample.masks)


class _FirstStages:
    """A quantizer of which only the first stages are decoded."""

    def __init__(self, quantizer: Quantizer, stages: int) -> None:
        self._quantizer, self._stages = quantizer, stages

    def encode(self, x: Tensor, mask: Tensor | None = None, /) -> Tensor:
        return self._quantizer.encode(x, mask)

    def decode(self, codes: Tensor, /) -> Tensor:
        return self._quantizer.decode(codes, stages=self._stages)


def _fitted(quantizer: Quantizer, fields: list[Tensor]) -> Quantizer:
    other = copy.deepcopy(quantizer).eval()
    other.fit(fields, iterations=_ITERATIONS, max_vectors=1 << 30)
    return other


def _refit(quantizer: Quantizer, sample: Sample) -> Trial:
    return _judged("refit from a k-means start", _fitted(quantizer, sample.learn), sample, stages=True)


def _revival(quantizer: Quantizer, sample: Sample) -> Trial:
    """Codes that nobody chose become vectors, as `restart` does it; the others stay where they are."""
    other = copy.deepcopy(quantizer).eval()
    books = [module for module in other.modules() if isinstance(module, Codebook)]
    for _ in range(_ROUNDS):
        for book in books:
            book.__dict__["search"] = _reviving(book, book.search)
        for field in sample.learn:
            other.encode(field)
        for book in books:
            book.__dict__.pop("search", None)
    return _judged("revive unused codes", other, sample)


def _reviving(book: Codebook, search: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def revived(x: Tensor) -> Tensor:
        codes = search(x)
        dead = codes.bincount(minlength=book.num_codes) == 0
        far = (x - book.lookup(codes)).square().sum(dim=1)
        # the chance of a vector to become a code grows with its error, as in k-means++
        count = min(int(dead.sum()), len(x), int((far > 0).sum()))
        if count:
            chosen = torch.multinomial(far[:_LIMIT], min(count, len(far[:_LIMIT])))
            place = dead.nonzero().flatten()[: len(chosen)]
            table = book.weight.detach()
            table[place] = x[chosen].to(table.dtype)
        return search(x)

    return revived


_LIMIT = 1 << 20  # categories that torch.multinomial draws from


class _Rescaled:
    """A quantizer of vectors that are shifted and scaled before, and back after."""

    def __init__(self, quantizer: Quantizer, scale: float, shift: Tensor) -> None:
        self._quantizer, self._scale, self._shift = quantizer, scale, shift

    def encode(self, x: Tensor, mask: Tensor | None = None, /) -> Tensor:
        return self._quantizer.encode((x - self._shift) * self._scale, mask)

    def decode(self, codes: Tensor, /) -> Tensor:
        return self._quantizer.decode(codes).float() / self._scale + self._shift


def _rescaled(quantizer: Quantizer, sample: Sample) -> Trial | None:
    """The best of some scales, each with and without moving the mean to where the codes have theirs; None where that is no change."""
    some = [field if quantizer.needs_grid else field[:, :_SCALE_VECTORS] for field in sample.learn[:8]]
    rows = torch.cat([field.reshape(-1, field.shape[-1]) for field in some])
    mean, codes = rows.mean(dim=0), _random_codes(quantizer, rows)
    centre = codes.mean(dim=0)
    spread, width = ((x - x.mean(dim=0)).square().sum(dim=1).mean().sqrt() for x in (rows, codes))
    # beyond those by which training usually is off: that of vectors which have nearly collapsed, or of other units
    measured = (float(width / spread),) if bool(spread > 0) and bool(width > 0) else ()
    best: tuple[float, float, Tensor] | None = None
    for scale in (*_SCALES, *(scale for scale in measured if not _SCALES[0] <= scale <= _SCALES[-1])):
        # (x − shift)·scale has mean (mean − shift)·scale: as it is, or that of the codes
        for shift in (torch.zeros_like(mean), mean - centre / scale):
            changed = _Rescaled(quantizer, scale, shift)
            error = error_share(changed, some, [None] * len(some))
            if best is None or error < best[0] * (1 - 1e-6):
                best = (error, scale, shift)
    assert best is not None
    _, scale, shift = best
    if scale == 1 and not shift.any():
        return None
    moved = " and shift them" if bool(shift.any()) else ""
    changed = _Rescaled(quantizer, scale, shift)
    error = error_share(changed, sample.judge, sample.masks)
    return Trial(f"scale the vectors by {scale:g}{moved}", error, (), quantizer.codebook_numel)


def _random_codes(quantizer: Quantizer, rows: Tensor) -> Tensor:
    """What codes stand for that are drawn at random, each counting once."""
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(size, (256,), generator=generator) for size in quantizer.code_sizes]
    codes = torch.stack(columns, dim=-1).reshape(256, *[1] * quantizer._grid_dims, len(columns))
    if codes.ndim == 2:
        codes = codes[None]
    return quantizer.decode(codes.to(rows.device)).float().reshape(-1, rows.shape[1])


def _rotation(quantizer: Quantizer, sample: Sample) -> Trial | None:
    rows = torch.cat([field.reshape(-1, field.shape[-1]) for field in sample.learn])
    if not any(isinstance(module, Product) for module in quantizer.modules()) or len(rows) <= 4 * sample.dim:
        return None
    rotation = balanced_rotation(rows)
    fitted = _fitted(quantizer, [field @ rotation for field in sample.learn])
    turned = Sample([], [field @ rotation for field in sample.judge], sample.masks, sample.masked)
    return _judged("turn the latent so that pieces get equal shares, and refit", fitted, turned)


def _sizes(quantizer: Quantizer, sample: Sample) -> Iterator[Trial]:
    """Half as many codes of the squared size, and twice as many of the root, at the same bits."""
    for other in _resized(quantizer):
        fitted = _fitted(other, sample.learn)
        sizes = fitted.code_sizes
        yield _judged(f"{len(sizes)} × {sizes[0]} codes at the same bits", fitted, sample)


def _resized(quantizer: Quantizer) -> Iterator[Quantizer]:
    inner = getattr(quantizer, "quantizer", quantizer)
    sizes = set(quantizer.code_sizes)
    if quantizer.needs_grid or len(sizes) > 1:
        return
    size, count, dim = sizes.pop(), quantizer.num_codes, quantizer.dim
    root = round(size**0.5)
    options = [(size**2, count // 2)] if count % 2 == 0 and size**2 <= _MOST_CODES else []
    options += [(root, count * 2)] if root**2 == size and root > 1 else []
    parts: list[Quantizer] = []
    if isinstance(inner, Residual | Product):
        parts = list(inner.stages if isinstance(inner, Residual) else inner.pieces)
    if not parts or not all(isinstance(part, VQ) for part in parts):
        return
    device = next(iter(quantizer.state_dict().values())).device
    for codes, number in options:
        if isinstance(inner, Residual):
            yield RVQ(dim, codes, number, shared=inner.repeats > 1).to(device)
        elif isinstance(inner, Product) and dim % number == 0:
            yield PVQ(dim, codes, number, shared=inner.repeats > 1).to(device)
