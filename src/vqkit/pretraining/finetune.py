"""Fine-tuning: the encoder and a new classifier learn the labels together.

signals ─ (mixup) ─ front end ─ (SpecAugment) ─ encoder with drop path ─ mean over the patches ─ layer norm ─ linear layer

References:
    BRIDLE, section 4 and appendix A; Bao et al., "BEiT" (2022), arXiv:2106.08254 (layer decay).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.data.audio.batch_augment import mixup, spec_augment
from vqkit.models.bridle import Bridle
from vqkit.models.bridle.front import AudioFront
from vqkit.models.bridle.patches import patchify
from vqkit.pretraining.head import Choice, HeadSettings, cosine_rate, loss_of
from vqkit.pretraining.inputs import padded
from vqkit.pretraining.labelled import Labelled
from vqkit.pretraining.linear_probe import cross_validated, read_items
from vqkit.pretraining.results import Result, measure
from vqkit.types import Bool, Float

__all__ = ["Classifier", "FineTuning", "finetune"]

_MIN_RATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class FineTuning(HeadSettings):
    """Settings of fine-tuning: how encoder and classifier learn.

    Args:
        layer_decay: factor of the learning rate from each block to the one before it.
        drop_path: share of the items that skip the last block in training; see `Blocks`.
        mixup: share of the sounds that are mixed with others.
        mask_frames: longest blank stretch of time of SpecAugment, in frames.
        mask_bands: most neighbouring blank bands.
        unfrozen: whether the encoder learns; without it only the classifier does, with the same augmentation.
        frozen_drop_path: whether a frozen encoder drops paths, as in the published code; by default it is in evaluation mode.

    Raises:
        ValueError: an argument out of range, or ``frozen_drop_path`` of an encoder that learns.
    """

    learning_rate: float = 1e-3
    epochs: int = 30
    batch_size: int = 16
    layer_decay: float = 0.75
    drop_path: float = 0.1
    mixup: float = 0.5
    mask_frames: int = 192
    mask_bands: int = 48
    unfrozen: bool = True
    frozen_drop_path: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layer_decay", "drop_path", "mixup"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0 … 1, got {getattr(self, name)}")
        if self.frozen_drop_path and self.unfrozen:
            raise ValueError("frozen_drop_path is for a frozen encoder (unfrozen=False, --frozen); this one learns")
        if self.mask_frames < 0 or self.mask_bands < 0:
            raise ValueError(
                f"mask_frames and mask_bands must be at least 0, got {self.mask_frames} and {self.mask_bands}"
            )


class Classifier(nn.Module):
    """The encoder of a `Bridle` and a linear classifier of its mean feature.

    Args:
        bridle: whose encoder is copied.
        classes: number of classes.
        drop_path: drop path, as in `FineTuning`.
    """

    def __init__(self, bridle: Bridle, classes: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.front, self.encoder = bridle.front, copy.deepcopy(bridle.encoder).requires_grad_(True)
        self.patch, self.longest = bridle.patch, bridle.places
        self.encoder.blocks.drop_path = drop_path
        self.norm, self.head = nn.LayerNorm(bridle.width), nn.Linear(bridle.width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, settings: FineTuning | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits.

        Args:
            x: sound (batch, 1, samples), images or video.
            lengths: samples of each sound.
            settings: settings of SpecAugment, in training.
        """
        real = None
        if isinstance(self.front, AudioFront):
            pixels = self.front(x, lengths)
            if settings is not None:
                pixels = spec_augment(pixels, settings.mask_frames, settings.mask_bands)
            real = self._real(pixels, lengths)
        else:
            pixels = self.front(x)
        patches = patchify(pixels, self.patch)[:, : self.longest]
        tokens = self.encoder(patches, real=real)
        pooled = tokens.mean(1) if real is None else (tokens * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        logits: Tensor = self.head(self.norm(pooled))
        return logits

    def _real(self, pixels: Tensor, lengths: Tensor | None) -> Bool[Tensor, "batch places"] | None:
        if lengths is None or not isinstance(self.front, AudioFront):
            return None
        columns = pixels.shape[3] // self.patch[1]
        places = torch.arange(min(pixels.shape[2] // self.patch[0] * columns, self.longest), device=pixels.device)
        return places < self.front.patch_rows(lengths.to(pixels.device))[:, None] * columns

    def groups(self, settings: FineTuning) -> list[dict[str, object]]:
        """Groups of parameters for AdamW: the learning rate falls from the classifier to the patch embedding, block by block."""
        depth, found = len(self.encoder.blocks.layers), list[dict[str, object]]()
        for name, parameter in self.named_parameters():
            if name.startswith("encoder.blocks.layers."):
                level = int(name.split(".")[3]) + 1
            else:
                level = depth + 1 if name.startswith(("norm", "head", "encoder.norm")) else 0
            scale = settings.layer_decay ** (depth + 1 - level)
            decay = settings.weight_decay if parameter.squeeze().ndim > 1 else 0.0
            found.append({"params": [parameter], "weight_decay": decay, "scale": scale})
        return found


def finetune(bridle: Bridle, data: Labelled, settings: FineTuning | None = None) -> Result:
    """Train encoder and classifier, choose the epoch on the validation items, report the test items once.

    Args:
        bridle: where the encoder begins; it is left as it is.
        data: labelled items of its modality.
        settings: how.

    Raises:
        ValueError: another modality, or a split without items that can be read.
    """
    if data.modality != bridle.modality:
        raise ValueError(f"the model is one of {bridle.modality}, the items are {data.modality}")
    how = settings or FineTuning()
    longest = bridle.size[0] * 0.01 + 0.02 if bridle.modality == "audio" else 0.0
    options = {"max_seconds": longest} if longest else {}
    places, signals, skipped = read_items(bridle, data, **options)
    targets = data.targets[places]
    metric = "mAP" if data.multiple else "accuracy"
    return cross_validated(
        "finetune",
        data,
        places,
        skipped,
        how.chosen_on,
        lambda triple: _fit(bridle, signals, targets, triple, how, metric),
    )


def _fit(
    bridle: Bridle,
    signals: Sequence[Tensor],
    targets: Tensor,
    triple: tuple[list[int], list[int], list[int]],
    how: FineTuning,
    metric: str,
) -> Choice:
    train, valid, test = triple
    if how.chosen_on == "test":
        valid = test
    device = next(bridle.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        model = Classifier(bridle, targets.shape[1], how.drop_path).to(device)
        if not how.unfrozen:
            model.encoder.requires_grad_(False)
        optimizer = torch.optim.AdamW(model.groups(how), lr=how.learning_rate)
        best: tuple[tuple[float, float], Choice] | None = None
        for epoch in range(how.epochs):
            model.train()
            if not how.unfrozen and not how.frozen_drop_path:
                model.encoder.eval()  # what is frozen is whole: no drop path
            order = torch.tensor(train)[torch.randperm(len(train))].split(how.batch_size)
            for index, batch in enumerate(order):
                share = cosine_rate((epoch + index / len(order)) / how.epochs, floor=_MIN_RATE / how.learning_rate)
                for group in optimizer.param_groups:
                    group["lr"] = how.learning_rate * share * group["scale"]
                x, lengths = padded([signals[place] for place in batch.tolist()])
                x, wanted = x.to(device), targets[batch].to(device)
                if lengths is not None and len(batch) > 1:
                    x, wanted = mixup(x, wanted, how.mixup)
                    lengths = None if how.mixup else lengths  # a mixture is as long as its longer part
                elif bridle.modality == "image":
                    x = _moved(x)
                optimizer.zero_grad()
                loss_of(model(x, lengths, how), wanted, bridle.modality).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            chosen = _scores(model, signals, valid)
            found = measure(chosen, targets[valid], precision=metric == "mAP")[metric]
            key = (found, -float(loss_of(chosen, targets[valid], bridle.modality)))
            if best is None or key > best[0]:
                best = key, Choice(_scores(model, signals, test), epoch + 1, found)
    assert best is not None
    return best[1]


def _moved(images: Tensor) -> Tensor:
    """Every image shifted by up to an eighth of its size."""
    height, width = images.shape[-2:]
    shifts = [(torch.rand(2) * 2 - 1).mul(torch.tensor([height, width]) / 8).round().int().tolist() for _ in images]
    margin = max(height, width) // 8 + 1
    wide = F.pad(images, (margin,) * 4, mode="replicate" if images.ndim == 4 else "constant")
    rows = [
        image[..., margin + down : margin + down + height, margin + right : margin + right + width]
        for image, (down, right) in zip(wide, shifts, strict=True)
    ]
    return torch.stack(rows)


@torch.no_grad()
def _scores(model: Classifier, signals: Sequence[Tensor], places: Sequence[int]) -> Float[Tensor, "items classes"]:
    model.eval()
    device, rows = next(model.parameters()).device, []
    for first in range(0, len(places), 16):
        x, lengths = padded([signals[place] for place in places[first : first + 16]])
        rows.append(model(x.to(device), None if lengths is None else lengths.to(device)).float().cpu())
    return torch.cat(rows)
