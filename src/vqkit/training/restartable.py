"""Data-parallel training whose processes ``torchrun --max-restarts`` may start anew."""

from lightning.pytorch.strategies import DDPStrategy

from vqkit.ranks import join_ranks

__all__ = ["RestartableDDP"]


class RestartableDDP(DDPStrategy):
    """Lightning's DDP, which joins the process group under names that no earlier attempt has used."""

    def setup_distributed(self) -> None:
        """Join, and let Lightning do the rest: it takes a process group that is there already."""
        join_ranks("nccl" if self.root_device.type == "cuda" else "gloo")
        super().setup_distributed()
