"""Optional compiled searches and sums of small codebooks, for the CPU: several times faster than PyTorch's operators, with the same codes.

Nothing is compiled unless a program asks for it by `load`, or its environment by VQKIT_NATIVE=1. It takes a C++ compiler (GCC or Clang),
ninja (``pip install ninja``) and some seconds, once on a machine: torch.utils.cpp_extension keeps the library in its folder
(TORCH_EXTENSIONS_DIR). The plain paths stay, serve every call that does not fit, and are what these are tested against; search.py, signs.py
and tables.py say what is computed.
"""

import ctypes
import hashlib
import os
import platform
import subprocess
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.types import Float, Int

__all__ = [
    "MOST_STAGES",
    "NativeSearch",
    "call",
    "load",
    "loaded",
    "nearest",
    "serves",
    "sign_codes",
    "without",
]

_SOURCES = [Path(__file__).with_name(f"native{part}.cpp") for part in ("", "_beam", "_grid", "_step")]
_FLAGS = {
    "AVX2": ["-mavx2", "-mfma"],
    "AVX512": ["-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw"],
}
# of a table: larger ones do not stay in a cache from block to block, as the matrix product's tiles do
_MOST_FLOATS = 1 << 20
_INT, _POINTER = ctypes.c_int64, ctypes.c_void_p
_ARGUMENTS = {
    "vqkit_search": [_POINTER, _INT, _INT, _POINTER, _INT, _INT, _POINTER, _POINTER, _INT, _POINTER],
    "vqkit_beam": [_POINTER, _INT, _INT, _POINTER, _INT, _POINTER, _INT, _INT, *[_POINTER] * 3],
    "vqkit_gram": [_INT, _POINTER, _INT, _INT],
    "vqkit_gram_free": [_POINTER],
    "vqkit_preselect_words": [_INT, _INT],
    "vqkit_preselect": [_POINTER, _INT, _INT, _POINTER],
    "vqkit_signs": [_POINTER, *[_INT] * 4, *[_POINTER] * 4, _INT, _POINTER],
    "vqkit_sums": [_POINTER, *[_INT] * 3, *[_POINTER] * 3, _INT, _INT, _POINTER],
    "vqkit_copies": [_POINTER, *[_INT] * 5, _POINTER, _INT, _INT, _POINTER],
    "vqkit_within": [_POINTER, _INT, _INT],
    "vqkit_step": [_POINTER, _INT, _INT, _POINTER, _INT, _INT, *[_POINTER] * 5],
    "vqkit_grid": [_POINTER, *[_INT] * 3, *[_POINTER] * 5, _INT, _POINTER],
}
_RESULTS = {
    "vqkit_preselect_words": _INT,
    "vqkit_search": ctypes.c_int,
    "vqkit_gram": _POINTER,
    "vqkit_sums": ctypes.c_int,
    "vqkit_within": ctypes.c_int,
}
# searched before 8-bit tables are prepared (native_preselect.h), which takes as long as they gain on so many
_VECTORS_BEFORE = 1024
_VECTORS_BEFORE_GRAM = 1 << 15  # likewise before those of native_gram.h
MOST_STAGES = 8
"""Stages that `sign_codes` takes."""

_library: Any = None
_wanted = os.environ.get("VQKIT_NATIVE") == "1"


def load() -> None:
    """Use the compiled library in this process; compile it first if that was not done before on this machine.

    Raises:
        RuntimeError: no compiler or no ninja, or it does not compile.

    Example:
        >>> load()  # doctest: +SKIP
        >>> loaded()  # doctest: +SKIP
        True
    """
    global _library
    if _library is not None:
        return
    from torch.utils import cpp_extension

    capability = torch.backends.cpu.get_cpu_capability()
    # a home may be shared by machines of several kinds, and a machine by several versions
    name = f"vqkit_{platform.machine()}_{capability}_{_digest()}".lower()
    try:
        path = cpp_extension.load(
            name=name,
            sources=[str(source) for source in _SOURCES],
            extra_cflags=["-O3", "-std=c++17", "-pthread", *_FLAGS.get(capability, [])],
            is_python_module=False,
        )
    except (RuntimeError, OSError, ImportError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"the compiled searches need a C++ compiler (GCC or Clang) and ninja (pip install ninja): {error}"
        ) from error
    library: Any = ctypes.CDLL(path)
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = _RESULTS.get(name)
    _library = library


def _digest() -> str:
    """Hash of all sources, headers included, and of where they lie."""
    # ninja rebuilds only for a new command or newer files: of an older version reinstalled, with files that are older too, the library of
    # the later one would stay; and two installations that shared a folder would compile it in turns
    folder = Path(__file__).parent
    files = sorted(folder.glob("native*.[ch]*"))
    return hashlib.sha256(b"".join([bytes(folder), *(file.read_bytes() for file in files)])).hexdigest()[:16]


def loaded() -> bool:
    """Whether the compiled library serves this process; the first call loads it where VQKIT_NATIVE=1 asks for it."""
    global _wanted
    if _wanted and not torch.compiler.is_compiling():  # a graph neither calls it nor can it be loaded in one
        _wanted = False
        load()
    return _library is not None


def serves(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether the library is loaded, and x lies in memory that it can read, as this dtype."""
    ordinary = type(x) in (Tensor, torch.nn.Parameter)  # others, such as fake tensors, have no memory
    return loaded() and ordinary and x.device.type == "cpu" and x.dtype == dtype


def call(name: str, *arguments: int) -> int | None:
    """Call a function of the library; only where `serves` said so."""
    result: int | None = getattr(_library, name)(*arguments)
    return result


@contextmanager
def without() -> Iterator[None]:
    """Inside, the compiled library is not used: for tests and comparisons."""
    global _library, _wanted
    before, _library, _wanted = (_library, _wanted), None, False
    try:
        yield
    finally:
        _library, _wanted = before


def nearest(x: Float[Tensor, "vectors dim"], mean: Tensor, direction: Tensor) -> Int[Tensor, " vectors"] | None:
    """`vqkit.quantize.search.nearest_in` for a codebook of modest size; None where it does not fit."""
    if x.ndim != 2 or x.shape[1] != len(mean) or not NativeSearch.fit(x, [[direction]]):
        return None
    return NativeSearch([[direction]], None, mean)(x)[:, 0]


class NativeSearch:
    """A residual search through stages of small codebooks, ready for `__call__`.

    Args:
        directions: for each stage and piece the (codes, piece dim + 1) table of `SearchTable`.
        steps: likewise (codes, piece dim), what a code takes from the residual; None for a single stage.
        mean: what is subtracted before the first stage, (dim,).
    """

    def __init__(
        self, directions: Sequence[Sequence[Tensor]], steps: Sequence[Sequence[Tensor]] | None, mean: Tensor
    ) -> None:
        self._kept = [mean.contiguous(), *(table.contiguous() for stage in directions for table in stage)]
        layout: list[int] = []
        taken = [] if steps is None else [table.contiguous() for stage in steps for table in stage]
        column = 0
        for index, stage in enumerate(directions):
            begin = 0
            for _ in stage:
                table = self._kept[1 + column]
                step = 0 if index == len(directions) - 1 else taken[column].data_ptr()
                layout += [begin, table.shape[1] - 1, table.shape[0], table.data_ptr(), step, 0]
                begin += table.shape[1] - 1
                column += 1
        self._kept += taken
        self._columns, self._stages, self._seen = column, len(directions), 0
        self._layout = torch.tensor([*layout, *map(len, directions)], device=mean.device)
        self._gram: int | None = None
        self._lock = threading.Lock()

    @staticmethod
    def fit(x: Tensor, tables: Sequence[Sequence[Tensor]]) -> bool:
        """Whether the library can search vectors in float32 tables of such sizes, and does it faster."""
        every = [table for stage in tables for table in stage]
        return serves(x, torch.float32) and all(
            table.is_cpu and table.dtype == torch.float32 and 0 < table.numel() <= _MOST_FLOATS for table in every
        )

    def __call__(self, x: Float[Tensor, "vectors dim"]) -> Int[Tensor, "vectors codes"]:
        """Codes of all stages; ties take the first code."""
        return self.search(x)[0]

    def search(self, x: Float[Tensor, "vectors dim"]) -> tuple[Int[Tensor, "vectors codes"], bool]:
        """Codes, and whether it saw that all vectors are finite: False where it did not look, or not at all of them."""
        x = x.detach().contiguous()
        if self._seen < _VECTORS_BEFORE_GRAM:
            self._count(len(x))
        codes = torch.empty(len(x), self._columns, dtype=torch.long, device=x.device)
        layout = self._layout  # another thread may replace it, and its memory must stay until this search ends
        finite = _library.vqkit_search(
            x.data_ptr(), len(x), x.shape[1], layout.data_ptr(), self._columns, self._stages,
            self._kept[0].data_ptr(), self._gram, torch.get_num_threads(), codes.data_ptr(),
        )  # fmt: skip
        return codes, bool(finite)

    def beam(
        self, x: Float[Tensor, "vectors dim"], beam: int, every: bool
    ) -> tuple[list[Int[Tensor, "vectors codes"]], Float[Tensor, "vectors stages"]]:
        """`vqkit.quantize.beam.best_prefixes` of stages of one piece each.

        Args:
            x: finite vectors.
            beam: sets of codes kept after each stage.
            every: codes for every number of stages; otherwise the list has those of all stages alone.
        """
        x = x.detach().contiguous()
        if self._seen < _VECTORS_BEFORE:
            self._count(min(len(x) * beam, _VECTORS_BEFORE))  # a beam has no use for the other tables
        widths = list(range(1, self._stages + 1))
        codes = torch.empty(len(x), self._stages, dtype=torch.long, device=x.device)
        prefixes = codes.new_empty(len(x), sum(widths)) if every else None
        errors = torch.empty(len(x), self._stages, dtype=torch.float32, device=x.device)
        layout = self._layout
        _library.vqkit_beam(
            x.data_ptr(), len(x), x.shape[1], layout.data_ptr(), self._stages, self._kept[0].data_ptr(), beam,
            torch.get_num_threads(), codes.data_ptr(), None if prefixes is None else prefixes.data_ptr(), errors.data_ptr(),
        )  # fmt: skip
        return [codes] if prefixes is None else list(prefixes.split(widths, dim=1)), errors

    def _count(self, vectors: int) -> None:
        """Prepare what gains from now on, each once: several threads may search."""
        with self._lock:
            before, self._seen = self._seen, self._seen + vectors
            if before < _VECTORS_BEFORE <= self._seen:
                self._prepare()
            if before < _VECTORS_BEFORE_GRAM <= self._seen:
                self._prepare_gram()

    def _prepare(self) -> None:
        """Add 8-bit copies of the tables that are large enough to gain by them."""
        layout = self._layout.tolist()
        for index, direction in enumerate(self._kept[1 : 1 + self._columns]):
            codes, width = direction.shape[0], direction.shape[1] - 1
            words = _library.vqkit_preselect_words(codes, width)
            if words:
                table = torch.empty(words, dtype=torch.int32, device=direction.device)
                _library.vqkit_preselect(direction.data_ptr(), codes, width, table.data_ptr())
                self._kept.append(table)
                layout[6 * index + 5] = table.data_ptr()
        # new rather than written to: other threads may be searching, and tensors made in inference mode refuse it
        self._layout = torch.tensor(layout, device=self._layout.device)

    def _prepare_gram(self) -> None:
        """Add what codes of all stages are computed from without residuals, where the stages are such that this gains."""
        gram = _library.vqkit_gram(len(self._kept[0]), self._layout.data_ptr(), self._columns, self._stages)
        if gram:
            self._gram = gram
            # not at exit, where a thread may still be searching
            weakref.finalize(self, _library.vqkit_gram_free, gram).atexit = False


def sign_codes(
    x: Float[Tensor, "vectors dim"],
    difference: Float[Tensor, "pieces width stages"],
    middle: Float[Tensor, "pieces width"],
    threshold: Float[Tensor, "stages pieces"],
    product: Float[Tensor, "stages stages pieces"],
) -> Int[Tensor, "vectors codes"]:
    """Codes of stages of two-code pieces, see `StageSigns`; at most `MOST_STAGES`."""
    pieces, width, stages = difference.shape
    x = x.detach().contiguous()
    codes = torch.empty(len(x), stages * pieces, dtype=torch.long, device=x.device)
    _library.vqkit_signs(
        x.data_ptr(), len(x), stages, pieces, width, difference.data_ptr(), middle.data_ptr(), threshold.data_ptr(),
        product.data_ptr(), torch.get_num_threads(), codes.data_ptr(),
    )  # fmt: skip
    return codes
