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
from vqkit.coding.kinds import SOUND, header_in, header_of_pipe, kind_of_file
from vqkit.files import NewFile
from vqkit.models.identity import accepted_hashes
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
        kind, written_by = job.kind, ""
        source: Any = job.source
        assert kind is not None
        if job.source == PIPE:  # it can be read once: what is decoded with is chosen before
            header, source = header_of_pipe(standard_input())
            written_by = header.model_hash
        if job.target != PIPE:
            Path(job.target).parent.mkdir(parents=True, exist_ok=True)
        target = sys.stdout.buffer if job.target == PIPE else job.target

        def decoded(model: Any) -> Coded:
            suffix = self.suffixes[kind]
            return kind.decode(model, source, target, suffix, watch, self.overwrite, self.max_megapixels)

        model = models[kind]
        if written_by and not self.models_given and written_by not in accepted_hashes(model):
            folder = shipped_with(written_by)
            model = model if folder is None else self._other(kind, folder)
        try:
            return decoded(model)
        except OtherModelError as error:
            folder = shipped_with(written_by or header_in(job.source).model_hash)
            if folder is None or self.models_given or job.source == PIPE:
                name = "FOLDER, that of the model that wrote it" if folder is None else folder.name
                raise OtherModelError(f"{error}: give --model {name}") from None
        return decoded(self._other(kind, folder))

    def _other(self, kind: Kind, folder: Path) -> Any:
        """A model that ships, loaded once."""
        if folder.name not in self._others:
            self._others[folder.name] = kind.load(str(folder))
        return self._others[folder.name]


def standard_input() -> BinaryIO:
    """Return standard input as a stream of bytes.

    Raises:
        ValueError: it is closed.
    """
    if sys.stdin is None:
        raise ValueError("standard input is closed: name a file")
    return sys.stdin.buffer
