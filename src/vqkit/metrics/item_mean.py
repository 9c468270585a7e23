"""A mean over items (clips, images): one value each, each weighing the same.

Conventions:
    The sum is in float64 and the count in int64, added over ranks; the mean is float32.

Metrics:
    :class:`ItemMean` is the abstract base of :class:`vqkit.metrics.ReconstructionMetric` and :class:`vqkit.metrics.ImageMetric`.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from vqkit.metrics.streaming import StreamingMetric
from vqkit.types import Float

__all__ = ["ItemMean"]


class ItemMean(StreamingMetric):
    """Mean over items. A metric of this family defines ``update``, which calls :meth:`add`.

    Attributes:
        item: what an item is, for messages.
    """

    item: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        # The state's names hold the metric's: torchmetrics' MetricCollection merges metrics whose states look alike.
        self._sum, self._count = f"{self.name}_sum", f"{self.name}_count"
        self.add_state(self._sum, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state(self._count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Sequence[Float[Tensor, ""]]) -> None:
        """Add the values of some items.

        Args:
            values: one scalar an item.
        """
        total = getattr(self, self._sum)
        for value in values:  # one by one, so that the sum does not depend on how items are batched
            total = total + value.to(total)
        setattr(self, self._sum, total)
        setattr(self, self._count, getattr(self, self._count) + len(values))

    def compute(self) -> Float[Tensor, ""]:
        """Mean over the items so far, of all ranks.

        Returns:
            Scalar, float32.

        Raises:
            ValueError: there has been no item.
        """
        count = getattr(self, self._count)
        if count == 0:
            raise ValueError(f"{self.name} has seen no {self.item}: call update before compute")
        return (getattr(self, self._sum) / count).float()
