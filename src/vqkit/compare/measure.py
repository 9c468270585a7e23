"""Measure a model on whole items, whatever they hold: quality, codebook use, bits really written, and what the report shows.

items ─ signals ─ analyze ─ latents ─ codes ─┬─ synthesize ─ metrics
                                             └─ packed ─ bytes ─ rate
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor

from vqkit.bitstream import encode_codes
from vqkit.compare.codebooks import (
    counted,
    curve_stages,
    energy_of_fields,
    residual_energy,
    usage_of,
    use_by_part,
    values_of,
)
from vqkit.compare.dataset import Dataset
from vqkit.compare.pca import code_cloud
from vqkit.data import Item
from vqkit.metrics import ImageSSIM, StreamingMetric
from vqkit.modality import Modality
from vqkit.models.tokenizer import Tokenizer
from vqkit.quantize import Quantizer

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["Measure", "too_small"]

_SHOWN_VECTORS = 1 << 15  # latents behind the residual energy and the plane of principal components

_ACRONYMS = {"snr", "lsd", "psnr", "ssim", "kld", "fd"}

_Item = TypeVar("_Item", bound=Item)


class Measure(ABC, Generic[_Item]):
    """Measures models of one modality; a subclass says what only its signals have.

    Attributes:
        modality: modality of the signals.
        examples: field of the items to show in ``results.json``.
        rate: name of the rate in ``results.json``.
        suffix: suffix of the files of originals and reconstructions.
        titles: title of a metric by its name, where it is not that of its words.
        first: names of the metrics that are shown first.
    """

    modality: ClassVar[Modality]
    examples: ClassVar[str]
    rate: ClassVar[str]
    suffix: ClassVar[str]
    titles: ClassVar[Mapping[str, str]]
    first: ClassVar[tuple[str, ...]]

    # --- what only the signals of a modality have

    @abstractmethod
    def items(self, data: Dataset, training: bool) -> list[_Item]:
        """Items of a data set to train on, or to measure on."""

    @abstractmethod
    def described(self, train: Sequence[_Item], test: Sequence[_Item]) -> dict[str, Any]:
        """Return the amount of training and test data, for the record."""

    @abstractmethod
    def label(self, item: _Item) -> str:
        """Return a short name of an item, for files and people."""

    @abstractmethod
    def extent(self, item: _Item, signal: Tensor) -> dict[str, Any]:
        """Return group and size of an item, for the record."""

    @abstractmethod
    def metrics(self) -> "MetricCollection":
        """Return new metrics."""

    @abstractmethod
    def signals(self, items: Sequence[_Item]) -> Iterator[tuple[_Item, Tensor]]:
        """Yield every item that can be read with its signal, as the model takes it, in a batch of one."""

    @abstractmethod
    def batches(self, items: Sequence[_Item]) -> Iterator[Tensor]:
        """Yield all signals of some items that are measured, in batches."""

    @abstractmethod
    def counting(self, train: Sequence[_Item]) -> Sequence[_Item]:
        """Return the training items whose codes give the histograms of the entropy coder."""

    @abstractmethod
    def size(self, signals: Tensor) -> Any:
        """Return the size of the signals of a batch, as ``synthesize`` takes it."""

    @abstractmethod
    def units(self, signals: Tensor) -> float:
        """Return the amount of signal in a batch, in units such that one bit a unit is the unit of the rate."""

    @abstractmethod
    def packed(self, codes: list[Tensor]) -> list[Tensor]:
        """Group the codes (places, num_codes) of the batches into the streams that are coded together."""

    @abstractmethod
    def write(self, path: Path, signal: Tensor) -> None:
        """Write a signal, without its batch dimension, as a file."""

    def judged(self, signals: Tensor) -> Tensor:
        """Convert signals to the form that the metrics take."""
        return signals

    def facts(self, model: Tokenizer) -> dict[str, Any]:
        """Return the facts about a model's rate that are known before anything is coded."""
        return {}

    def left_out(self) -> str:
        """Return a line on metrics that signals of this size do not have; "" if there are none such."""
        return ""

    # --- what all have in common

    @property
    def protocols(self) -> dict[str, Any]:
        """Protocol of each metric by name; a narrow terminal shows the first ones."""
        metrics = cast("dict[str, StreamingMetric]", dict(self.metrics().items()))
        order = {key: place for place, key in enumerate(self.first)}
        found: dict[str, Any] = {}
        for key in sorted(metrics, key=lambda key: (order.get(key, len(order)), key)):
            protocol = metrics[key].protocol
            told = {field: protocol[field] for field in ("unit", "better", "description")}
            found[key] = {"name": self.titles.get(key) or _title(key), **told, **protocol["settings"]}
        return found

    def originals(self, shown: Sequence[_Item], folder: Path) -> dict[str, Any]:
        """Write the items to show, as the model gets them, and describe them."""
        found = []
        for item, signal in self.signals(shown):
            path = folder / self.modality.name / "original" / f"{self.label(item)}{self.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.write(path, signal[0])
            original = str(path.relative_to(folder))
            found.append({"name": self.label(item), **self.extent(item, signal), "original": original})
        return {self.examples: found}

    @torch.no_grad()
    def measure(
        self,
        model: Tokenizer,
        train: Sequence[_Item],
        test: Sequence[_Item],
        shown: Sequence[_Item],
        details: bool,
        folder: Path,
    ) -> dict[str, Any]:
        """Measure on the test items; reconstructions of the items to show are written to a folder.

        Args:
            model: the model, in evaluation mode.
            train: training items, the codes of some of which give the histograms of the entropy coder.
            test: items that are measured, each whole.
            shown: items whose reconstruction is kept.
            details: also usage, residual energy, principal components and the rate curve.
            folder: folder of the run.

        Returns:
            The fields of a run, as `vqkit.compare.backbone.Backbone.measure` describes them.
        """
        quantizer = model.quantizer
        metrics, usage, units = self.metrics(), usage_of(quantizer), 0.0
        latents, places, codes = [], [], []
        left: list[Tensor] = []  # energy of whole fields after each number of stages, where single places say nothing
        for signals in self.batches(test):
            z = model.analyze(signals)
            found = quantizer.encode(z)
            made = model.synthesize(quantizer.decode(found), self.size(signals))
            metrics.update(self.judged(made), self.judged(signals))
            usage.update(found)
            units += self.units(signals)
            latents.append(z.flatten(end_dim=-2))
            places.append(found.flatten(end_dim=-2))
            codes.append(_packed(quantizer, found))
            if details and quantizer.block > 1:
                left.append(energy_of_fields(quantizer, z, found))
            spatial = z.ndim - 2
        histograms = counted(quantizer, (_codes(model, some) for some in self.batches(self.counting(train))))
        rate = self.rate
        values: dict[str, Any] = {
            "rates": {
                rate: self._rate(codes, quantizer.packed_sizes, units),
                f"entropy_{rate}": histograms and self._rate(codes, quantizer.packed_sizes, units, histograms),
            },
            "metrics": values_of(metrics),
            "reconstructions": self._reconstructions(model, shown, folder),
        }
        if facts := self.facts(model):
            values["facts"] = facts
        if details:
            every = max(1, sum(map(len, places)) // _SHOWN_VECTORS)
            some_z, some_codes = torch.cat(latents)[::every], torch.cat(places)[::every]
            energy = torch.stack(left).sum(dim=0) if left else None
            values |= {
                "usage": use_by_part(usage),
                "residual_energy": residual_energy(quantizer, some_z, some_codes, spatial)
                if energy is None
                else (energy / energy[0]).tolist(),
                "pca": code_cloud(quantizer, some_z, some_codes, spatial),
                "rate_curve": self._rate_curve(model, test, units),
            }
        return values

    def _rate(
        self, codes: list[Tensor], sizes: Sequence[int], units: float, histograms: list[Tensor] | None = None
    ) -> float:
        """Bits really written, over what they stand for."""
        return 8 * sum(len(encode_codes(part, sizes, histograms)) for part in self.packed(codes)) / units

    def _reconstructions(self, model: Tokenizer, shown: Sequence[_Item], folder: Path) -> dict[str, str]:
        found = {}
        for item, signal in self.signals(shown):
            path = folder / f"{self.label(item)}{self.suffix}"
            codes = model.quantizer.encode(model.analyze(signal))
            self.write(path, model.synthesize(model.quantizer.decode(codes), self.size(signal))[0])
            found[self.label(item)] = path.name
        return found

    def _rate_curve(self, model: Tokenizer, test: Sequence[_Item], units: float) -> list[dict[str, Any]] | None:
        """Quality of the first 1, 2, 4, … stages."""
        quantizer = model.quantizer
        curve = []
        for stages in curve_stages(quantizer):
            metrics, kept = self.metrics(), []
            for signals in self.batches(test):
                codes = quantizer.encode(model.analyze(signals), stages=stages)
                made = model.synthesize(quantizer.decode(codes), self.size(signals))
                metrics.update(self.judged(made), self.judged(signals))
                kept.append(_packed(quantizer, codes))
            rate = self._rate(kept, quantizer.packed_sizes[: kept[0].shape[1]], units)
            curve.append({"stages": stages, self.rate: rate, "metrics": values_of(metrics)})
        return curve or None


def too_small(what: str, size: Sequence[int]) -> str:
    """Return the line on images that are too small for SSIM's windows; "" if they are not."""
    if min(size) >= ImageSSIM.min_size:
        return ""
    height, width = size
    return f"ssim is not measured: {what} must be at least {ImageSSIM.min_size} pixels high and wide, and have {height} × {width}"


def _title(key: str) -> str:
    """A title of a metric's name: "KLD vqkit sounds" of "kld_vqkit_sounds"."""
    return " ".join(word.upper() if word in _ACRONYMS else word for word in key.split("_"))


def _codes(model: Tokenizer, signals: Tensor) -> Tensor:
    return _packed(model.quantizer, model.quantizer.encode(model.analyze(signals)))


def _packed(quantizer: Quantizer, codes: Tensor) -> Tensor:
    """Codes as a file holds them: a row for each position, or for each block where there are codes of several scales."""
    return quantizer.pack(codes).flatten(end_dim=-2)
