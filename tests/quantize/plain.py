"""The systems with their learning at its plainest, for tests that work out by hand what one setting does: each names what it adds."""

from functools import partial

import vqkit

_PLAIN = {"update": "gradient", "init": "uniform", "revive": "none"}

VQ = partial(vqkit.VQ, **_PLAIN)
RVQ = partial(vqkit.RVQ, **_PLAIN)
PVQ = partial(vqkit.PVQ, **_PLAIN)
GroupedRVQ = partial(vqkit.GroupedRVQ, **_PLAIN)
IVQ = partial(vqkit.IVQ, **_PLAIN)
LooC = partial(vqkit.LooC, **{**_PLAIN, "revive": "cvq"})
