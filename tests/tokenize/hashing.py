"""An encoder that makes codes of bytes without a model, so that processes start in a fraction of a second; and a run with it."""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqkit.tokenize.item import Encoded
from vqkit.tokenize.run import TokenizeSettings, tokenize


@dataclass(frozen=True)
class HashEncoder:
    pause: float = 0.0

    def describe(self):
        return {"models": {"sound": {"codes_per_stage": [1, 1, 1]}}, "settings": {}, "largest_code": 255}

    def load(self):
        return None

    def encode(self, loaded, item):
        time.sleep(self.pause)
        data = item.data if isinstance(item.data, bytes) else item.data.read_bytes()
        if data.startswith(b"bad"):
            raise ValueError("it is bad")
        if data.startswith(b"crash"):
            os.abort()
        digest = np.frombuffer(hashlib.sha512(data).digest()[:63], np.uint8)
        frames = 1 + len(data) % 20
        return Encoded("sound", np.resize(digest, (frames, 3)).astype(np.int64), frames / 50, (frames,), (), data[:9])


@dataclass(frozen=True)
class BatchHashEncoder(HashEncoder):
    """The same for several items at once; one that is too loud ends the process when all are computed."""

    batch: int = 3

    def encode_together(self, loaded, items, at):
        found = []
        for number, item in enumerate(items):
            at(number)
            try:
                found.append(self.encode(loaded, item))
            except ValueError as error:
                found.append(error)
        at(-1)
        if any(item.data.read_bytes() == b"too much" for item in items):
            os.abort()
        return found


@dataclass(frozen=True)
class DyingEncoder(BatchHashEncoder):
    """The first process that is given an item of its name dies."""

    name: str = ""
    mark: str = ""

    def encode(self, loaded, item):
        if item.key.endswith(self.name) and not os.path.exists(self.mark):
            Path(self.mark).touch()
            os._exit(1)
        return super().encode(loaded, item)


def run(
    source, target, pause=0.0, processes=2, items_per_shard=4, formats=("parquet", "webdataset"), runner=None, batch=1
):
    settings = TokenizeSettings(formats, items_per_shard)
    encoder = HashEncoder(pause) if batch == 1 else BatchHashEncoder(pause, batch)
    return tokenize(source, target, lambda kinds: encoder, settings, processes=processes, runner=runner)


def in_process(units, work):
    """A runner without processes."""
    loaded = work.load()
    for unit in units:
        yield work(loaded, unit, {})


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], float(sys.argv[3]), batch=3)
