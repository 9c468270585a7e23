"""Fit a network model: train it in floating point, then with its numbers rounded as they will be, and write them down as integers.

In the second half of the training every weight, bias and activation is rounded in the forward pass to the grid on which the integers lie,
while gradients pass straight through (Jacob et al.); the first half is without rounding, and the grids are chosen when it ends. A step
takes random frames of the clips and predicts all their codes.

References:
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (2018), arXiv:1712.05877.
"""

from collections.abc import Callable, Iterable, Sequence
from math import cos, pi

import torch
from torch import Tensor

from vqkit.bitstream.limits import MAX_NETWORK_DIM, MAX_NETWORK_WIDTH
from vqkit.bitstream.network_model import NetworkModel, earlier_offsets, own_offsets
from vqkit.bitstream.network_training import RoundedNetwork
from vqkit.bitstream.static_tables import has_table
from vqkit.types import Float, Int

__all__ = ["fit_network"]

_WARMUP = 50


def fit_network(
    code_sizes: Sequence[int],
    clips: Iterable[Int[Tensor, "frames num_codes"]],
    *,
    chunk_frames: int | Sequence[int] = 75,
    columns: Sequence[int] | None = None,
    vectors: Sequence[Float[Tensor, "code_size latent"]] | None = None,
    dim: int = 24,
    width: int = 64,
    steps: int = 600,
    batch_frames: int = 1024,
    seed: int = 0,
    watch: Callable[[float], None] = lambda share: None,
) -> NetworkModel:
    """Fit a network model to codes.

    Args:
        code_sizes: alphabet of each code of a frame.
        clips: codes of whole clips, without masked positions.
        chunk_frames: frames of a chunk, outside of which nothing is known; one number, or one for each clip.
        columns: columns of images' grids, one for each clip: cells of the rows around become inputs.
        vectors: for each code position what each code adds to the latent that is decoded, such as the codebooks of a residual quantizer:
            what the network starts from, which saves training. None starts at random.
        dim: length of a code vector, 1 … 64.
        width: outputs of the hidden layers, 1 … 256.
        steps: optimizer steps.
        batch_frames: frames of a step.
        seed: seed of the start and of the frames.
        watch: called with the share that is done.

    Returns:
        The model.

    Raises:
        ValueError: dim, width, steps or batch_frames out of range, codes out of range, or no codes.

    Example:
        >>> codes = torch.arange(3000)[:, None] // 3 % 8  # each code three times
        >>> model = fit_network([8], [codes], dim=4, width=16, steps=150, batch_frames=256)
        >>> data = model.encode(codes[:75].numpy(), 0, 1)  # 29 bytes as plain bits
        >>> len(data) < 20, (model.decode(data, codes[:75, :0].numpy(), 1) == codes[:75].numpy()).all().item()
        (True, True)
    """
    if not (1 <= dim <= MAX_NETWORK_DIM and 1 <= width <= MAX_NETWORK_WIDTH and min(steps, batch_frames) >= 1):
        raise ValueError(
            f"dim must be 1 to {MAX_NETWORK_DIM}, width 1 to {MAX_NETWORK_WIDTH}, steps and batch_frames at least 1, got "
            f"{dim}, {width}, {steps} and {batch_frames}"
        )
    frames = _Frames(code_sizes, [clip.cpu() for clip in clips], chunk_frames, columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RoundedNetwork(code_sizes, frames.counts(), vectors, dim, width, frames.grid)
        optimizer = torch.optim.AdamW(network.groups(), betas=(0.9, 0.99))
        rates = [group["lr"] for group in optimizer.param_groups]
        for step in range(steps):
            if step == steps // 2:
                network.choose_grids()
            share = min(1.0, (step + 1) / _WARMUP) * 0.5 * (1 + cos(pi * step / steps))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            optimizer.zero_grad()
            network(*frames.sample(batch_frames)).backward()
            optimizer.step()
            watch((step + 1) / steps)
    return network.integers()


class _Frames:
    """Training set: all frames of the clips, with the offsets to the frames around each."""

    def __init__(
        self,
        code_sizes: Sequence[int],
        clips: Sequence[Tensor],
        chunk_frames: int | Sequence[int],
        columns: Sequence[int] | None,
    ) -> None:
        if not sum(map(len, clips)):
            raise ValueError("there are no codes to fit a network model to")
        self.sizes, self.codes = tuple(code_sizes), torch.cat([clip.long() for clip in clips])
        if self.codes.min() < 0 or (self.codes >= torch.tensor(code_sizes)).any():
            raise ValueError(f"codes are from {self.codes.min()} to {self.codes.max()}, expected 0 to code_sizes − 1")
        lengths = [chunk_frames] * len(clips) if isinstance(chunk_frames, int) else list(chunk_frames)
        self.grid = columns is not None
        within, left, kind = [], [], []
        widths = [0] * len(clips) if columns is None else list(columns)
        kinds = sorted(set(widths))
        for clip, length, width in zip(clips, lengths, widths, strict=True):
            place = torch.arange(len(clip)) % length
            begin = torch.arange(len(clip)) - place
            within.append(place)
            left.append((begin + length).clamp_max(len(clip)) - torch.arange(len(clip)))
            kind.append(torch.full((len(clip),), kinds.index(width)))
        self.within, self.left, self.kind = torch.cat(within), torch.cat(left), torch.cat(kind)
        # an offset beyond every chunk stands for none
        offsets = [(*own_offsets(width, self.grid), *earlier_offsets(width, self.grid)) for width in kinds]
        self.offsets = torch.tensor([[1 << 40 if o is None else o for o in each] for each in offsets])

    def sample(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw random frames: codes (count, slots, num_codes) of the frames around, which of them exist, and the codes to predict."""
        chosen = torch.randint(len(self.codes), (count,))
        offsets = self.offsets[self.kind[chosen]]
        there = (self.within[chosen, None] + offsets >= 0) & (offsets < self.left[chosen, None])
        around = torch.where(there, chosen[:, None] + offsets, 0)
        return self.codes[around], there, self.codes[chosen]

    def counts(self) -> dict[int, Tensor]:
        """Count how often each value of each code occurs, for the code positions that have a table."""
        coded = [i for i, size in enumerate(self.sizes) if has_table(size)]
        return {i: torch.bincount(self.codes[:, i], minlength=self.sizes[i]).float() for i in coded}
