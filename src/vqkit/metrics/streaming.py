"""Base class of every metric of vqkit: a streaming state, a unit, and a protocol that says what the number means.

Conventions:
    States are sums (float64) and counts (int64) of fixed size, added over ranks, so that N ranks give what one rank
    gives on all the data. ``compute`` may be called at any time and does not end the stream; ``reset`` does.
    A number without its protocol cannot be compared with another: store ``metric.protocol`` beside it.

Metrics:
    :class:`StreamingMetric` is the abstract base; the metrics are in the other files of this package.

References:
    torchmetrics, https://lightning.ai/docs/torchmetrics (state handling and synchronisation).
"""

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vqkit.types import need

if TYPE_CHECKING:
    from torchmetrics import Metric
else:
    Metric = need("torchmetrics", "eval").Metric

__all__ = ["StreamingMetric"]

_BETTER = {True: "higher", False: "lower", None: None}


class StreamingMetric(Metric):
    """A torchmetrics metric that carries its name, its unit and its protocol.

    Attributes:
        name: short snake_case key.
        unit: unit of the value: ``"dB"``, ``"bits"``, ``"kbit/s"`` … or ``""`` for a plain number.
        description: one line: what is computed and over what it is averaged.
    """

    name: str
    unit: str
    description: str
    is_differentiable = False
    full_state_update = False

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Every parameter that changes the value, JSON-able."""

    @property
    def protocol(self) -> dict[str, Any]:
        """Protocol that says what the metric's value means, JSON-able.

        Returns:
            ``metric``, ``unit``, ``better`` (``"higher"``, ``"lower"`` or None), ``description`` and ``settings``.
        """
        return {
            "metric": self.name,
            "unit": self.unit,
            "better": _BETTER[self.higher_is_better],
            "description": self.description,
            "settings": self.settings,
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the stream and return the value of that batch alone.

        Args:
            *args: as for ``update``.
            **kwargs: as for ``update``.

        Returns:
            What ``compute`` gives for the batch.
        """
        value = super().forward(*args, **kwargs)
        if not isinstance(value, Tensor):
            self._forward_cache = None  # torchmetrics would try to rewrite a frozen result when the metric moves
        return value

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        # Unlike torchmetrics' own wrapper this one is silent on a rank that happened to get no item, accepts frozen
        # dataclasses as results, and leaves the synchronised state when compute raises.
        @functools.wraps(compute)
        def computed() -> Any:
            if self._computed is not None:
                return self._computed
            self.sync(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync)
            try:
                value = compute()
            finally:
                self.unsync(should_unsync=self._is_synced and self._should_unsync)
            if isinstance(value, Tensor) and self.compute_with_cache:
                self._computed = value  # type: ignore[assignment]  # torchmetrics types it as None
            return value

        return computed
