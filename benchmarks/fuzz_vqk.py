"""Damage `.vqk` files at random and read them: what must never happen is a crash, a hang, a large allocation or wrong codes.

    python benchmarks/fuzz_vqk.py --mutations 20000 [--seed 0]

One core, about five minutes of processor time. Each case damages one of a few small files (sound and images, every coding, one or several
codes a stage, files joined, with fewer stages, and with stages that differ from frame to frame) by bit flips, cuts, insertions, deletions,
repetitions and pieces of other files; or edits fields of the header and puts its checksum right; or forges whole records with right
checksums and random contents; or damages the tables of a coding. Then it opens, describes, thins, cuts and reads the file, at once, from a
frame on, as a stream that cannot be seeked and as a file that grows. Allowed are `BitstreamError` and blocks of codes: of every block that
is not reported lost the codes must be those that were written (not so for forged records, whose checksums are right).
"""

import argparse
import io
import random
import resource
import signal
import time
import zlib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch

from vqkit.bitstream import (
    BitstreamError,
    EntropyModel,
    StaticTables,
    VqkHeader,
    VqkReader,
    VqkWriter,
    cut,
    fit_contexts,
    inspect,
    join,
    read_tables,
    thin,
)
from vqkit.bitstream.fields import block_bytes, number_bytes
from vqkit.bitstream.header import MAGIC
from vqkit.bitstream.limits import MAX_COUNT
from vqkit.bitstream.network_fit import fit_network
from vqkit.bitstream.output import RecordWriter
from vqkit.bitstream.records import CHUNK_MARKER, END_MARKER
from vqkit.bitstream.stage_counts import encode_counts

MOST_SECONDS = 5.0  # of processor time, a case: the longest take 1.8 s of a slow shared core
MOST_MEBIBYTES = 64.0  # growth of the process


@dataclass(frozen=True)
class Original:
    """A good file, what its blocks hold, and the tables to read it with."""

    data: bytes
    header: VqkHeader
    blocks: frozenset[bytes]
    model: EntropyModel | None


class Pipe(io.RawIOBase):
    """Bytes that cannot be seeked and come in pieces."""

    def __init__(self, data: bytes, piece: int) -> None:
        super().__init__()
        self._data, self._piece, self._position = data, piece, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._data[self._position : self._position + min(size, self._piece)]
        self._position += len(piece)
        return piece


def originals() -> list[Original]:
    """Small good files of sound and images."""
    generator = torch.Generator().manual_seed(0)
    found = []
    sound = {"sample_rate": 16000, "hop_samples": 320, "channels": 1}
    image = {"grid": (20, 20), "image_size": (155, 160)}
    shapes = [([1024] * 4, (1, 1, 1, 1), sound), ([16, 4375, 1, 300, 70000, 2], (1, 3, 2), sound)]
    shapes = [*shapes, ([64, 9, 70000, 5], (1, 2, 1), image)]
    for (sizes, stages, content), variable in [*((shape, False) for shape in shapes), *((s, True) for s in shapes[1:])]:
        skewed = [torch.rand(400, generator=generator).pow(3).mul(size).long().clamp(max=size - 1) for size in sizes]
        codes = torch.stack(skewed, dim=1)
        header = VqkHeader(tuple(sizes), stages, model="m", model_hash="ab" * 16, variable_stages=variable, **content)
        columns = [content["grid"][1]] if "grid" in content else None
        static = StaticTables.fit(sizes, [codes])
        context = fit_contexts(sizes, [codes], classes=2, chunk_frames=50, columns=columns)
        if variable:
            kept = torch.tensor(header.stage_ends)[torch.randint(0, header.num_stages, (400, 1), generator=generator)]
            codes = torch.where(torch.arange(len(sizes)) < kept, codes, -1)
        networks = []
        if (
            columns is not None and not variable
        ):  # a network's steps are slow: those of the smallest alphabets are enough
            options = {"chunk_frames": 50, "columns": columns, "dim": 2, "width": 4, "steps": 2, "batch_frames": 8}
            networks = [(fit_network(sizes, [codes], **options), store) for store in (True, False)]
        models = (
            *networks,
            (None, False),
            (static, True),
            (static, False),
            (context, False),
            (context, len(sizes) == 4),
        )
        for model, store in models[:: 2 if variable else 1]:
            file = io.BytesIO()
            with VqkWriter(file, header, entropy_model=model, store_tables=store) as writer:
                for block in codes.split(37):
                    writer.write(block[:, : header.stage_ends[-1 if len(found) % 2 else -2]])
            files = [file.getvalue()]
            if model is None:
                joined = io.BytesIO()
                join([io.BytesIO(files[0]), io.BytesIO(files[0])], joined)
                files += [joined.getvalue(), files[0] + files[0]]
            for data in files:
                blocks = frozenset(
                    block.codes.numpy().tobytes() for block in VqkReader(io.BytesIO(data), entropy_model=model)
                )
                found.append(Original(data, VqkReader(io.BytesIO(data)).header, blocks, model))
    # pieces of one file are at home in another of the same stream
    return [
        replace(
            one, blocks=frozenset().union(*(other.blocks for other in found if other.header.same_stream(one.header)))
        )
        for one in found
    ]


def damaged(original: Original, other: bytes, random: random.Random) -> bytes:
    """One to four accidents, most of them behind the header."""
    out = bytearray(original.data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        kind = random.randrange(9)
        least = min(len(out), len(original.header.to_bytes())) if random.random() < 0.9 else 0
        at = random.randint(least, len(out))
        span = random.choice((1, 2, 4, 17, 100, 1000))
        if kind <= 1 and least < len(out):
            for _ in range(random.choice((1, 1, 2, 8))):
                out[random.randrange(least, len(out))] ^= 1 << random.randrange(8)
        elif kind == 2:
            out[at : at + span] = random.randbytes(len(out[at : at + span]))
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            out[at:at] = random.randbytes(span)
        elif kind == 5:
            del out[at : at + span]
        elif kind == 6:
            start = random.randint(least, len(out))
            out[at:at] = out[start : start + span]
        elif kind == 7:
            start = random.randrange(len(other))
            out[at : at + random.choice((0, span))] = other[start : start + span]
        else:
            out[at:at] = random.choice((CHUNK_MARKER, END_MARKER, MAGIC)) * random.choice((1, span))
    return bytes(out)


def with_edited_header(original: Original, random: random.Random) -> bytes:
    """Random bytes or numbers in the header, with a right checksum."""
    old = original.header.to_bytes()
    start = len(old) - 4 - len(old[5:-4]) + len(number_bytes(len(old)))
    body = bytearray(old[start:-4])
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(body))
        kind = random.randrange(3)
        if kind == 0:
            body[at] = random.randrange(256)
        elif kind == 1:
            body[at : at + 1] = number_bytes(random.choice((0, 1, 1 << 20, (1 << 32) - 1, MAX_COUNT)))
        else:
            del body[at : at + random.randrange(1, 4)]
    version = random.choice((old[4], old[4], old[4], old[4], 0, 1, 2, 3, 255))
    content = MAGIC + bytes([version]) + block_bytes(bytes(body))
    return content + zlib.crc32(content).to_bytes(4, "little") + original.data[len(old) :]


def forged(original: Original, random: random.Random) -> bytes:
    """Records with right checksums and wrong contents."""
    file = io.BytesIO()
    header = original.header
    if random.random() < 0.3:
        sizes = tuple(random.choice((1, 2, 3, 1 << 16, 1 << 24, 1 << 32)) for _ in range(random.choice((1, 3, 1024))))
        variable = random.random() < 0.5
        header = VqkHeader(sizes, sample_rate=1 << 32, hop_samples=1, grid=(1 << 24,) * 8, variable_stages=variable)
    records = RecordWriter(file, header)
    start = 0
    for _ in range(random.randrange(1, 6)):
        frames = random.choice((1, 50, 51, header.largest_chunk))
        start += random.choice((0, 0, 50, 1 << 19, 1 << 40))
        stages = [
            random.randbytes(random.choice((0, 1, 60, 64, 5000)))
            for _ in range(random.randrange(1, 1 + header.num_stages))
        ]
        counts = random.randbytes(random.choice((0, 1, 13, 60, 5000))) if header.variable_stages else None
        if counts is not None and random.random() < 0.7:  # counts that are right, so that what follows them is read
            numbers = np.random.default_rng(random.randrange(1 << 32)).integers(1, 1 + header.num_stages, frames)
            counts = encode_counts(numbers, header.num_stages, header.coding)
        records.chunk(start, frames, stages, counts)
        start += frames
    records.end(start + random.choice((0, 0, 1 << 19)), random.choice((None, 0, MAX_COUNT - 1)))
    return file.getvalue()


def examine(data: bytes, original: Original, trusted: bool, random: random.Random) -> str:
    """Do everything with the file. Returns how it went: an error's beginning, or how much was lost."""

    def check(block) -> None:
        if not trusted:
            assert block.codes.shape[1] >= 1
        elif not block.lost:
            assert block.codes.numpy().tobytes() in original.blocks, "codes that were never written"
        else:
            assert (block.codes == -1).all()

    try:
        reader = VqkReader(io.BytesIO(data), entropy_model=original.model)
    except BitstreamError as error:
        return str(error).partition(":")[0][:40]
    frames = 0
    for block in reader:
        check(block)
        assert block.start_frame == frames
        frames += len(block.codes)
    assert frames == reader.frames
    lost = sum(damage.frames for damage in reader.damage)
    assert lost <= frames
    start = random.randrange(frames + 1)
    assert len(reader.read(start, min(frames - start, 1000))) <= 1000
    streamed = 0
    for block in VqkReader(Pipe(data, random.choice((7, 100, 10000))), entropy_model=original.model):
        check(block)
        streamed += len(block.codes)
    assert streamed == frames, f"{streamed} frames in a stream, {frames} in a file"
    half = len(data) // 2
    growing = io.BytesIO(data[: max(half, len(reader.header.to_bytes()))])
    early = VqkReader(growing, entropy_model=original.model)
    early.refresh()
    growing.seek(0, io.SEEK_END)
    growing.write(data[len(growing.getvalue()) :])
    for block in early:
        check(block)
    inspect(io.BytesIO(data))
    thinner = io.BytesIO()
    thin(io.BytesIO(data), thinner, stages=1)
    if frames:
        try:
            first = random.randrange(frames)
            cut(io.BytesIO(data), io.BytesIO(), first, min(frames - first, 120), entropy_model=original.model)
        except BitstreamError:
            assert not trusted, "an intact chunk could not be cut"
    if reader.damage or not reader.complete:
        return "nothing lost" if not lost else "all lost" if lost == frames else "some lost"
    return "intact"


def examine_tables(original: Original, random: random.Random) -> str:
    """Damage the tables of an entropy model and read them."""
    if original.model is None:
        return "tables"
    data = bytearray(original.model.to_bytes())
    for _ in range(random.choice((1, 2, 8))):
        data[random.randrange(min(len(data), random.choice((20, 1 << 20))))] = random.randrange(256)
    del data[random.choice((len(data), random.randrange(len(data)))) :]
    try:
        model = read_tables(bytes(data))
        sizes = model.code_sizes
        codes = np.zeros((30, len(sizes)), np.int64)
        assert (model.decode(model.encode(codes, 0, len(sizes)), codes[:, :0], len(sizes)) == 0).all()
    except BitstreamError:
        pass
    return "tables"


def run(mutations: int, seed: int) -> tuple[Counter[str], float]:
    """Examine so many cases. Returns how they went, and the longest processor time of one."""
    good = originals()
    for original in good:
        assert examine(original.data, original, True, random.Random(0)) == "intact"
    outcomes: Counter[str] = Counter()
    longest = 0.0
    for case in range(mutations):
        chance = random.Random(f"{seed} {case}")
        original = chance.choice(good)
        kind = chance.random()
        if kind < 0.75:
            data = damaged(original, chance.choice(good).data, chance)
        elif kind < 0.87:
            data = with_edited_header(original, chance)
        elif kind < 0.9:
            outcomes[examine_tables(original, chance)] += 1
            continue
        else:
            data = forged(original, chance)
        begin = time.process_time()
        try:
            outcomes[examine(data, original, kind < 0.75, chance)] += 1
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, case {case} ({len(data)} bytes): {type(error).__name__}: {error}"
            ) from error
        seconds = time.process_time() - begin
        assert seconds <= MOST_SECONDS, f"seed {seed}, case {case} took {seconds:.2f} s"
        longest = max(longest, seconds)
    return outcomes, longest


def peak_mebibytes() -> float:
    """The most memory that this process has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signal.setitimer(signal.ITIMER_PROF, 60 + arguments.mutations / 10)  # a hang ends the process
    run(0, 0)  # loads what is loaded once
    before = peak_mebibytes()
    begin = time.perf_counter()
    outcomes, longest = run(arguments.mutations, arguments.seed)
    growth = peak_mebibytes() - before
    for outcome, count in outcomes.most_common():
        print(f"{count:8d}  {outcome}")
    print(
        f"{arguments.mutations} cases in {time.perf_counter() - begin:.0f} s, the longest {1000 * longest:.0f} ms of processor time; "
        f"memory grew by {growth:.1f} MiB beyond {before:.0f} MiB"
    )
    assert growth <= MOST_MEBIBYTES, f"memory grew by {growth:.1f} MiB, allowed are {MOST_MEBIBYTES}"


if __name__ == "__main__":
    main()
