"""Encoding and decoding of one job's file, picklable where there is no pipe, so that workers can do it."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vqkit.bitstream import OtherModelError
from vqkit.coding.coded import Coded, Watch
from vqkit.coding.jobs import PIPE, Job
from vqkit.coding.kind import Encoding, Kind
from vqkit.coding.kinds import SOUND, header_in, kind_of_file
from vqkit.files import NewFile
from vqkit.models.loading import shipped_with

__all__ = ["DecodeOne", "EncodeOne", "standard_input"]


@dataclass(frozen=True)
class EncodeOne:
    """Encoder of one file; picklable where there is no pipe."""

    how: Encoding
    pipe: BinaryIO | None
    overwrite: bool

    def __call__(self, models: Mapping[Kind, Any], job: Job, watch: Watch) -> Coded:
        """Encode the file of a job with the model of its kind."""
        assert job.kind is not None
        source = self.pipe if job.source == PIPE and self.pipe is not None else job.source
        try:
            with self._output(job) as target:
                return job.kind.encode(models[job.kind], source, target, self.how, watch)
        except ValueError as error:
            if job.kind == SOUND and job.source != PIPE and kind_of_file(job.source) is None:  # it was but a try
                raise ValueError(f"{error}, and no image that is known") from None
            raise

    @contextmanager
    def _output(self, job: Job) -> Iterator[BinaryIO]:
        if job.target == PIPE:
            yield sys.stdout.buffer
            return
        with NewFile(job.target, overwrite=self.overwrite, make_folders=True, devices=True) as new:
            yield new.file


@dataclass(frozen=True)
class DecodeOne:
    """Decoder of one file; picklable."""

    suffixes: Mapping[Kind, str]
    overwrite: bool
    max_megapixels: float
    models_given: bool  # by --model; otherwise a file may ask for another model that ships
    _others: dict[str, Any] = field(default_factory=dict, compare=False)  # those, once loaded

    def __call__(self, models: Mapping[Kind, Any], job: Job, watch: Watch) -> Coded:
        """Decode the file of a job: with the model of its kind, or with the one that ships and wrote it.

        Raises:
            OtherModelError: another model wrote it, and ``--model`` was given, or none that ships did.
        """
        assert job.kind is not None
        source = standard_input() if job.source == PIPE else job.source
        if job.target != PIPE:
            Path(job.target).parent.mkdir(parents=True, exist_ok=True)
        target = sys.stdout.buffer if job.target == PIPE else job.target
        suffix = self.suffixes[job.kind]

        def decoded(model: Any) -> Coded:
            assert job.kind is not None
            return job.kind.decode(model, source, target, suffix, watch, self.overwrite, self.max_megapixels)

        try:
            return decoded(models[job.kind])
        except OtherModelError as error:
            folder = None if job.source == PIPE else shipped_with(header_in(job.source).model_hash)
            if folder is None or self.models_given:
                name = "FOLDER, that of the model that wrote it" if folder is None else folder.name
                raise OtherModelError(f"{error}: give --model {name}") from None
        if folder.name not in self._others:
            self._others[folder.name] = job.kind.load(str(folder))
        return decoded(self._others[folder.name])


def standard_input() -> BinaryIO:
    """Return standard input as a stream of bytes.

    Raises:
        ValueError: it is closed.
    """
    if sys.stdin is None:
        raise ValueError("standard input is closed: name a file")
    return sys.stdin.buffer
