"""Linear probing: how much of the classes a linear layer reads off the features of a frozen encoder."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch
from torch import Tensor

from vqkit.data.unreadable import readable
from vqkit.files import write_whole
from vqkit.models.bridle import Bridle
from vqkit.pretraining.head import Choice, HeadSettings, train_head
from vqkit.pretraining.inputs import ItemReader, padded
from vqkit.pretraining.labelled import Labelled, list_labelled
from vqkit.pretraining.results import Result, scores_of
from vqkit.types import Float

__all__ = ["LinearProbe", "cross_validated", "pooled_features", "probe", "read_items"]

_BATCH = 16


def read_items(bridle: Bridle, data: Labelled, **options: Any) -> tuple[list[int], list[Tensor], dict[str, str]]:
    """Read the items of a labelled data set.

    Args:
        bridle: the model that they are for.
        data: the items.
        options: further arguments of `ItemReader`.

    Returns:
        Places of the items that could be read, what was read, and the reasons of the others by path, which warnings name as well.
    """
    reader = ItemReader(bridle, data.items, **options)
    places, found, skipped = [], [], {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for place, tensor in readable(
            range(len(data.items)), lambda p: data.items[p].path, lambda p: reader(data.items[p])
        ):
            places.append(place)
            found.append(tensor)
    for warning in caught:
        text = str(warning.message)
        path, _, reason = text.removeprefix("skipped ").partition(": ")
        if text.startswith("skipped ") and reason:
            skipped[path] = reason
        else:
            warnings.warn(text, stacklevel=2)
    if skipped:
        shown = "; ".join(f"{path}: {reason}" for path, reason in list(skipped.items())[:3])
        more = "; …" if len(skipped) > 3 else ""
        warnings.warn(f"{len(skipped)} of {len(data.items)} items cannot be used: {shown}{more}", stacklevel=2)
    return places, found, skipped


@torch.no_grad()
def pooled_features(
    bridle: Bridle, signals: Sequence[Tensor], over: Literal["all", "time"] = "all"
) -> Float[Tensor, "items pooled"]:
    """One row for each signal, see `Bridle.pooled`, by the model in evaluation mode, on its device."""
    was, device = bridle.training, next(bridle.parameters()).device
    bridle.eval()
    # neighbours in length share a batch, so that little is padded
    order = sorted(range(len(signals)), key=lambda place: signals[place].shape[-1])
    rows: dict[int, Tensor] = {}
    for first in range(0, len(order), _BATCH):
        chosen = order[first : first + _BATCH]
        batch, lengths = padded([signals[place] for place in chosen])
        pooled = bridle.pooled(batch.to(device), None if lengths is None else lengths.to(device), over=over)
        rows.update(zip(chosen, pooled.float().cpu(), strict=True))
    bridle.train(was)
    return torch.stack([rows[place] for place in range(len(signals))])


def cross_validated(
    method: str,
    data: Labelled,
    places: Sequence[int],
    skipped: Mapping[str, str],
    chosen_on: str,
    fit: Callable[[tuple[list[int], list[int], list[int]]], Choice],
) -> Result:
    """Fit once for each fold, or once where there are none.

    Args:
        method: what is fitted, "probe" or "finetune".
        data: data set with splits or folds.
        places: places of the items that can be used; ``fit`` gets indices into them.
        skipped: path → reason of those that cannot.
        chosen_on: items that ``fit`` chooses its epoch on, "valid" or "test".
        fit: trains on the items of a triple of training, validation and test.

    Raises:
        ValueError: a split has no item that can be used.
    """
    targets = data.targets[list(places)]
    if not data.folds:
        split: dict[str, list[int]] = {
            name: [index for index, place in enumerate(places) if data.splits[place] == name]
            for name in ("train", "valid", "test")
        }
        triples = [(split["train"], split["valid"], split["test"])]
    else:
        folds = max(data.folds) + 1
        own = [data.folds[place] for place in places]
        triples = []
        for number in range(folds):
            # the fold before chooses the epoch: the test fold must not
            chooses = (number - 1) % folds if folds > 2 else None
            rest = [index for index, fold in enumerate(own) if fold not in (number, chooses)]
            valid = [index for index, fold in enumerate(own) if fold == chooses] or rest[::5]
            rest = [index for index in rest if index not in set(valid)]
            triples.append((rest, valid, [index for index, fold in enumerate(own) if fold == number]))
    for triple in triples:
        for name, found in zip(("train", "valid", "test"), triple, strict=True):
            if not found:
                raise ValueError(f"no item of the {name} split can be used")
    choices = [fit(triple) for triple in triples]
    scores = torch.cat([choice.scores for choice in choices])
    wanted = torch.cat([targets[test] for *_, test in triples])
    return Result(
        method,
        scores_of(scores, wanted),
        epoch=mean(choice.epoch for choice in choices),
        valid=mean(choice.valid for choice in choices),
        items=dict(zip(("train", "valid", "test"), map(len, triples[0]), strict=True)),
        classes=data.classes,
        folds=len(triples) if data.folds else 0,
        notes=data.notes,
        skipped=dict(skipped),
        chosen_on=chosen_on,
    )


def probe(
    bridle: Bridle,
    data: Labelled,
    settings: HeadSettings | None = None,
    features: Callable[[Bridle, Sequence[Tensor]], Tensor] = pooled_features,
) -> Result:
    """Train a linear layer on frozen features, choose its epoch on the validation items, report the test items once.

    Args:
        bridle: the frozen model; it computes in evaluation mode, without drop path.
        data: labelled items of its modality.
        settings: how the layer is trained.
        features: function of the model and signals that gives one row a signal; `pooled_features` by default, and
            ``partial(pooled_features, over="time")`` keeps bands and places apart.

    Raises:
        ValueError: another modality, or a split without items that can be read.
    """
    if data.modality != bridle.modality:
        raise ValueError(f"the model is one of {bridle.modality}, the items are {data.modality}")
    how = settings or HeadSettings()
    places, signals, skipped = read_items(bridle, data)
    rows = features(bridle, signals)
    targets = data.targets[places]
    metric = "mAP" if data.multiple else "accuracy"
    return cross_validated(
        "probe",
        data,
        places,
        skipped,
        how.chosen_on,
        lambda triple: train_head(rows, targets, triple, data.modality, how, metric),
    )


@dataclass(frozen=True)
class LinearProbe:
    """Action after a phase of pretraining: probe the encoder, log the result, and write it to the run's folder.

    Args:
        source: labelled items; None takes the data that the run trains on, and does nothing where that has no labels.
        label: column of the manifest.
        where: use the items with this value in a column of the manifest only, such as ``"subset=notes"``.
        settings: how the linear layer is trained.
    """

    source: str | None = None
    label: str = "label"
    where: str | None = None
    settings: HeadSettings = field(default_factory=HeadSettings)

    def __call__(self, module: Any) -> None:
        """Probe on the first rank; the others wait at their next step."""
        trainer = module.trainer
        folder = trainer.log_dir  # ranks exchange it: all have to ask
        if not trainer.is_global_zero:
            return
        phase = module.span(trainer.fit_loop.batch_idx).phase.name
        source = self.source or trainer.datamodule.source
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = list_labelled(source, module.bridle.modality, label=self.label, where=self.where)
                with torch.random.fork_rng():
                    result = probe(module.bridle, data, self.settings)
        except ValueError as error:
            if self.source is not None:
                raise
            warnings.warn(f"nothing is probed after {phase}: {error}", stacklevel=2)
            return
        for name, score in result.scores.items():
            if trainer.logger is not None:
                trainer.logger.log_metrics({f"probe/{name}": score.value}, step=trainer.fit_loop.batch_idx + 1)
        if folder:
            name = f"probe-{phase.replace(' ', '-')}.json"
            write_whole(Path(folder) / name, result.to_json().encode())
