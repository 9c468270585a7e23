"""How ranks share a run: DDP, where each holds all weights, and FSDP, where each holds a part of them and of the optimizer's state.

References:
    torch.distributed.fsdp.fully_shard, https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html; Lightning's
    ``ModelParallelStrategy``, whose process group, device mesh and launching of ranks are used here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, ParallelStrategy, Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from vqkit.quantize import Quantizer
from vqkit.quantize.sharding import is_sharded
from vqkit.ranks import follow_first_rank, join_ranks
from vqkit.training.runs.split_weights import Twin, part_like, release, without_parts

__all__ = ["RestartableDDP", "RestartableFSDP", "strategy_of"]

# parameters of a block that is gathered by itself; below, a collective costs more than the memory is worth
_BLOCK = 1 << 20


def strategy_of(name: str, ranks: int, unused: bool) -> Strategy | Literal["auto"]:
    """The strategy of a name.

    Args:
        name: ``"auto"``, ``"ddp"`` or ``"fsdp"``; one process has nothing to share, whatever the name.
        ranks: number of processes of the run.
        unused: whether some steps leave parameters without gradient, which DDP has to be told.

    Raises:
        ValueError: another name.
        ImportError: this PyTorch is too old for ``"fsdp"``.
    """
    if name not in ("auto", "ddp", "fsdp"):
        raise ValueError(f"strategy must be 'auto', 'ddp' or 'fsdp', got {name!r}")
    if ranks == 1:
        return "auto"
    if name != "fsdp":
        return RestartableDDP(find_unused_parameters=unused)
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError:
        raise ImportError(f"strategy='fsdp' needs PyTorch 2.6 or newer, this is {torch.__version__}") from None
    return RestartableFSDP()


class RestartableDDP(DDPStrategy):
    """Lightning's DDP for processes that ``torchrun --max-restarts`` may start anew.

    It joins the process group under names that no earlier attempt has used.
    """

    def setup_distributed(self) -> None:
        """Join, and let Lightning do the rest: it takes a process group that is there already."""
        join_ranks("nccl" if self.root_device.type == "cuda" else "gloo")
        super().setup_distributed()

    def configure_ddp(self) -> None:
        """Wrap the module in DDP, which refuses one without gradients; then ranks have only to begin alike, as it sees to."""
        assert self.model is not None
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            super().configure_ddp()
        else:
            follow_first_rank(self.model)


class RestartableFSDP(ModelParallelStrategy):
    """FSDP2 over all ranks, of GPUs or of processes on a CPU (gloo), which ``torchrun --max-restarts`` may start anew.

    What is gathered when is what `PhasedModule.splits` says. Checkpoints are whole, and the same as those of DDP and of one process, so
    that a run may go on under another strategy or on another number of ranks.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)
        self._twins: dict[str, Twin] = {}

    def _setup_distributed(self) -> None:
        join_ranks("nccl" if self.root_device.type == "cuda" else "gloo")
        self._data_parallel_size = self.num_nodes * self.num_processes
        super()._setup_distributed()

    def setup(self, trainer: Trainer) -> None:
        """Split the weights, and make the optimizers of the parts."""
        assert self.model is not None
        assert self.accelerator is not None
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if not self._twins:
            self._split(self.model)
        self.barrier()
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
            _check_split(self.model, self.optimizers)
        self.setup_precision_plugin()

    def _split(self, module: Any) -> None:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        follow_first_rank(module)  # each may have drawn its own
        self._twins = {name: Twin(child) for name, child in module.named_children()}
        mesh = self.device_mesh["data_parallel"]
        for split in module.splits():
            for block in () if split.kept else _blocks(split.module):
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
            fully_shard(split.module, mesh=mesh, reshard_after_forward=not split.kept)
            for method in split.methods:
                register_fsdp_forward_method(split.module, method)

    @contextmanager
    def whole(self, module: nn.Module, saving: bool = False) -> Iterator[None]:
        """Inside, the module's children hold all weights, on every rank; what is changed in them is split again at the end.

        Every rank has to enter.

        Args:
            module: what is trained.
            saving: the first rank alone gets the weights, on the CPU; nothing may change.
        """
        release(module)
        keep = not saving or self.is_global_zero
        device = torch.device("cpu") if saving else self.root_device
        split = dict(module.named_children())
        try:
            for name, twin in self._twins.items():
                setattr(module, name, twin.filled(split[name], device, keep))
            yield
            if not saving:
                for name, twin in self._twins.items():
                    twin.give_back(split[name])
        finally:
            for name, twin in self._twins.items():
                setattr(module, name, split[name])
                twin.empty()

    # --- checkpoints

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The module's state, whole, on the first rank; nothing on the others."""
        assert self.lightning_module is not None
        return self._gathered(self.lightning_module.state_dict())

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """An optimizer's state, whole, on the first rank; nothing on the others."""
        plain = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return self._gathered(plain.state_dict())

    def _gathered(self, state: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = without_parts(state, self.is_global_zero)
        return found if self.is_global_zero else {}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write what was gathered, on the first rank."""
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning hands the optimizers' state on."""
        return True

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a whole checkpoint."""
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this rank's part of a whole state."""
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict()
        state = {
            name: part_like(value, own[name]) if name in own else value
            for name, value in checkpoint["state_dict"].items()
        }
        self.lightning_module.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this rank's part of the optimizers' whole states."""
        for optimizer, whole in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                index: {
                    name: part_like(value, parameters[index])
                    if isinstance(value, Tensor) and value.shape == parameters[index].shape
                    else value
                    for name, value in entry.items()
                }
                for index, entry in whole["state"].items()
            }
            optimizer.load_state_dict({**whole, "state": state})


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Large members of lists of layers, inner ones first: one after the other is gathered, not all of them at once.

    Not those of a quantizer, which looks into its stages without calling them.
    """
    for child in network.children():
        if not isinstance(child, Quantizer):
            yield from _blocks(child)
            if (
                isinstance(network, nn.ModuleList | nn.Sequential)
                and type(child).forward is not nn.Module.forward
                and sum(parameter.numel() for parameter in child.parameters()) >= _BLOCK
            ):
                yield child


def _check_split(module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    names = {parameter: name for name, parameter in module.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if not is_sharded(parameter):  # nobody would average its gradient over ranks
                    raise TypeError(
                        f"{names.get(parameter, 'a parameter')} learns, but is in no module that {type(module).__name__}.splits names: "
                        "strategy='fsdp' cannot train it"
                    )
