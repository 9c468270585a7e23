"""One training run from start, or from where it was interrupted, to its last step."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from vqkit.training.phased_module import PhasedModule
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO
from vqkit.training.runs.files import RunFiles
from vqkit.training.runs.progress import ProgressLines
from vqkit.training.runs.seeding import StepSeed
from vqkit.training.runs.start import start_from
from vqkit.training.runs.strategies import RestartableDDP, strategy_of
from vqkit.training.runs.termination import EndTogether, saved_before_ending
from vqkit.training.runs.weight_average import WeightAverage

__all__ = ["RestartableDDP", "train"]


def train(
    model: PhasedModule,
    data: LightningDataModule,
    *,
    folder: str,
    steps: int,
    seed: int = 0,
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    strategy: Literal["auto", "ddp", "fsdp"] = "auto",
    average_decay: float | None = None,
    save_every: int = 1000,
    validate_every: int = 1000,
    log_every: int = 20,
    resume: str = "last",
    start: str | None = None,
    progress: bool = True,
    print_every: int = 50,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train, and leave checkpoint, model and logs in a folder.

    Killed at any moment, a run continued on the same number of processes gives the same weights, bit for bit, as one that was never
    interrupted. For several devices start it by ``torchrun --nproc_per_node N``, to which ``--max-restarts`` may be added.

    Args:
        model: what is trained and how, such as `vqkit.training.ReconstructionModule`, or `CodecModule` and `ImageModule`.
        data: what it is trained on, such as `vqkit.training.AudioDataModule` or `ImageDataModule`.
        folder: folder of the run; made if need be.
        steps: number of steps of the whole run.
        seed: seed of the random numbers of each step.
        accelerator: what to compute on.
        precision: ``"bf16-mixed"`` runs the convolutions in bfloat16.
        strategy: how several processes share the run: ``"ddp"`` (what ``"auto"`` takes) or ``"fsdp"``, which splits weights, gradients and
            the optimizer's state over them. A run may go on under the other one.
        average_decay: decay of a moving average of the weights, which validation and the saved model then use; None keeps none.
        save_every: steps between checkpoints.
        validate_every: steps between validations.
        log_every: steps between entries of the TensorBoard log.
        resume: ``"last"`` goes on from the folder's checkpoint if there is one, ``"no"`` starts anew, else the path of a checkpoint.
        start: a trained model of the same sizes (a folder of ``save_pretrained``, or ``"shipped"``) whose weights a new run begins with;
            None begins with random ones.
        progress: show how far the run is: one line that is rewritten on a terminal, a line every so many steps elsewhere.
        print_every: steps from line to line where stdout is no terminal.
        callbacks: further Lightning callbacks; what their ``state_dict`` gives is kept in the checkpoint.

    Returns:
        The folder of the trained model. What the last validation found of unused codes is in ``model.usage_advice``.

    Raises:
        ValueError: an argument out of range, or a checkpoint that does not fit.
        FileNotFoundError: there is no such checkpoint.
        KeyboardInterrupt: stopped by SIGTERM (a checkpoint is written first; several ranks end after the same step) or Ctrl-C.
    """
    for name, value in {
        "steps": steps,
        "save_every": save_every,
        "validate_every": validate_every,
        "log_every": log_every,
        "print_every": print_every,
    }.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    average = None if average_decay is None else WeightAverage(average_decay)
    files = RunFiles(Path(folder), tuple(model.models()), save_every, average)
    checkpoint = _checkpoint(resume, files.checkpoint)
    if start is not None and checkpoint is None:
        start_from(model.model, start)
    local, world = (int(os.environ.get(name, 1)) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    # a step of the model leaves the discriminator, or what learns in another phase, without gradients
    unused = len(model.phases) > 1 or len(model.configure_optimizers()) > 1
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)  # how many loader workers would be nicer, and the like
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")  # views that nobody changes in place
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(lightning|torch)\.")
        trainer = Trainer(
            accelerator=accelerator,
            strategy=strategy_of(strategy, world, unused),
            devices=local,
            num_nodes=world // local,
            precision=precision,
            logger=TensorBoardLogger(folder, name="", version=""),
            callbacks=[
                StepSeed(seed),
                *([average] if average else []),
                *([ProgressLines(print_every)] if progress else []),
                *callbacks,
                files,
                EndTogether(),  # last: what a step leaves is saved first
            ],
            plugins=[SafeCheckpointIO()],
            max_epochs=1,
            limit_train_batches=steps,
            val_check_interval=min(validate_every, steps),
            limit_val_batches=0 if getattr(data, "valid_split", "") is None else None,
            num_sanity_val_steps=0,
            log_every_n_steps=log_every,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        try:
            with saved_before_ending():
                trainer.fit(model, datamodule=data, ckpt_path=checkpoint)
            files.finish(model)
        except SystemExit:  # how Lightning answers SIGTERM and Ctrl-C, with status 0 for the former
            step = trainer.fit_loop.total_batch_idx + 1
            raise KeyboardInterrupt(f"stopped after step {step} of {steps}; the same command goes on") from None
    return files.model


def _checkpoint(resume: str, last: Path) -> Path | None:
    if resume == "no":
        return None
    if resume == "last":
        return last if last.is_file() else None
    if not Path(resume).is_file():
        raise FileNotFoundError(f"no such checkpoint: {resume}; resume is a path, 'last' or 'no'")
    return Path(resume)
