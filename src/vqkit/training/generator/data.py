"""Token files → training crops and validation windows for a generator."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vqkit.bitstream import read_tables
from vqkit.data.token_files import TokenFiles, is_token_folder
from vqkit.models.generator.bridge import ConditionBridge
from vqkit.models.generator.packing import StagePacking
from vqkit.models.prior_file import PRIOR_FILE
from vqkit.training.data.audio import ResumableLoader, StepBatches
from vqkit.training.generator.token_streams import TokenCrops, TokenStream, WholeStreams, list_tokens, read_streams
from vqkit.training.generator.token_tables import TokenTable, table_streams

__all__ = ["GeneratorDataModule"]


class GeneratorDataModule(LightningDataModule):
    """Random crops of the training split, consecutive windows of the validation split.

    A step's batch depends on ``seed`` and the step only: not on the number of processes, workers or interruptions.

    Args:
        source: folder of ``.vqk`` files, or one that ``vqkit tokenize`` wrote, or a `vqkit.tokenize.TokenDataset` of such a one; folders
            in it, or in its corpus, named train and valid give the split. A stream's class is ``label`` in its file's metadata, or its
            innermost folder that is no split. All of it is kept in memory.
        frames: number of frames of a crop; shorter streams are padded.
        batch_size: crops a step, over all processes.
        packed: one id for all codes of a stage (an IVQ hexagram, say); False has one a code.
        prior: folder of the model whose prior the files were written with; None reads plain files.
        conditions: folder of ``.vqk`` files of pictures, under the names of those of ``source``.
        bridge: makes conditions of those, such as `vqkit.models.generator.bridge.hexagram_bridge`.
        mismatched: give every stream the pictures of the next one, a control that must not help.
        train_split: name of the training split; None uses all files.
        valid_split: name of the validation split; None validates nothing.
        valid_items: use at most so many windows, evenly spread.
        num_workers: processes that cut crops; 0 cuts in the training process.
        seed: seed of the order and the crops.

    Raises:
        ValueError: an argument out of range, or only one of conditions and bridge.
    """

    def __init__(
        self,
        source: str | TokenTable,
        *,
        frames: int,
        batch_size: int = 32,
        packed: bool = True,
        prior: str | None = None,
        conditions: str | None = None,
        bridge: ConditionBridge | None = None,
        mismatched: bool = False,
        train_split: str | None = "train",
        valid_split: str | None = "valid",
        valid_items: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(frames, batch_size, valid_items) < 1 or num_workers < 0:
            raise ValueError(
                "frames, batch_size and valid_items must be at least 1 and num_workers at least 0, got "
                f"{frames}, {batch_size}, {valid_items} and {num_workers}"
            )
        if (conditions is None) != (bridge is None):
            raise ValueError("conditions and bridge go together: the pictures' codes, and what makes vectors of them")
        if conditions is not None and (not isinstance(source, str) or is_token_folder(source)):
            raise ValueError("conditions belong to files of the same names: give source as a folder of .vqk files")
        self.source, self.frames, self.batch_size, self.seed = source, frames, batch_size, seed
        self.packed, self.prior, self.conditions, self.bridge = packed, prior, conditions, bridge
        self.mismatched, self.num_workers, self.valid_items = mismatched, num_workers, valid_items
        self.train_split, self.valid_split = train_split, valid_split
        self._read: dict[str | None, list[TokenStream]] = {}

    def streams(self, split: str | None) -> list[TokenStream]:
        """The streams of a split, read once."""
        if split not in self._read and (table := self._table()) is not None:
            self._read[split] = table_streams(table, split, self.packed)
        if split not in self._read:
            assert isinstance(self.source, str)
            files = list_tokens(self.source, split)
            prior = None if self.prior is None else read_tables((Path(self.prior) / PRIOR_FILE).read_bytes())
            conditions = None if self.conditions is None else Path(self.conditions)
            found = read_streams(files, self.packed, prior, conditions, self.bridge)
            self._read[split] = _mismatched(found) if self.mismatched else found
        return self._read[split]

    def _table(self) -> TokenTable | None:
        """The source, where it is what ``vqkit tokenize`` wrote."""
        if not isinstance(self.source, str):
            return self.source
        return TokenFiles(self.source) if is_token_folder(self.source) else None

    @property
    def tokens_of(self) -> str:
        """Hash of the model whose codes these are."""
        return self.streams(self.train_split)[0].header.model_hash

    def setup(self, stage: str | None = None) -> None:
        """See that the files fit the generator.

        Raises:
            ValueError: other sizes of ids, a class that it does not have, a crop beyond its window, or a condition of another length.
        """
        generator = self._generator()
        stream = self.streams(self.train_split)[0]
        header, ids = stream.header, stream.ids.shape[1]
        packing = (
            StagePacking.from_sizes(header.code_sizes, header.codes_per_stage)
            if self.packed
            else StagePacking.of_codes(header.code_sizes)
        )
        if packing.id_sizes != generator.code_sizes:
            raise ValueError(
                f"the files have {ids} ids a frame of sizes {packing.id_sizes}, the generator {generator.code_sizes}"
            )
        if self.frames > generator.window:
            raise ValueError(f"crops of {self.frames} frames do not fit the generator's window of {generator.window}")
        dim = 0 if self.bridge is None else self.bridge.condition_dim
        if dim != generator.condition_dim:
            raise ValueError(
                f"the bridge makes vectors of {dim} numbers, the generator's condition_dim is {generator.condition_dim}"
            )

    def train_dataloader(self) -> ResumableLoader:
        """Crops, from the first step or the one where a run was interrupted."""
        trainer: Any = self.trainer
        steps = int(trainer.limit_train_batches)
        crops = TokenCrops(
            self.streams(self.train_split), self.frames, steps * self.batch_size, self._generator().classes, self.seed
        )
        batches = StepBatches(steps, self.batch_size, trainer.global_rank, trainer.world_size)
        return ResumableLoader(crops, batches, self.num_workers)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        """Windows, the ranks in turn."""
        if self.valid_split is None:
            return []
        trainer: Any = self.trainer
        windows = WholeStreams(
            self.streams(self.valid_split),
            self.frames,
            self.valid_items,
            self._generator().classes,
            trainer.global_rank,
            trainer.world_size,
        )
        return DataLoader(windows, batch_size=min(self.batch_size, 32))

    def _generator(self) -> Any:
        module: Any = self.trainer and self.trainer.lightning_module
        return module.model


def _mismatched(streams: list[TokenStream]) -> list[TokenStream]:
    others = [*streams[1:], streams[0]]
    return [
        replace(stream, condition=other.condition, pictures_per_frame=other.pictures_per_frame)
        for stream, other in zip(streams, others, strict=True)
    ]
