"""Pretraining on unlabelled signals and its evaluation: ``vqkit pretrain``, ``vqkit probe``, ``vqkit finetune``."""

from vqkit.types import need

need("lightning", "train")

from vqkit.pretraining.finetune import FineTuning, finetune  # noqa: E402
from vqkit.pretraining.labelled import Labelled, list_labelled  # noqa: E402
from vqkit.pretraining.linear_probe import LinearProbe, pooled_features, probe  # noqa: E402
from vqkit.pretraining.results import Result  # noqa: E402

__all__ = ["FineTuning", "Labelled", "LinearProbe", "Result", "finetune", "list_labelled", "pooled_features", "probe"]
