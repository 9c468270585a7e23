import io
from dataclasses import replace

import pytest
import torch

from vqkit.bitstream import BitstreamError, StaticTables, VqkHeader, VqkReader, VqkWriter, cut, join, thin


def edited(edit, *arguments, **options):
    file = io.BytesIO()
    edit(*arguments, file, **options) if edit is join else edit(arguments[0], file, *arguments[1:], **options)
    return VqkReader(io.BytesIO(file.getvalue()), **({"entropy_model": options["entropy_model"]} if options else {}))


@pytest.mark.parametrize(("stages", "width"), [(1, 1), (2, 3), (3, 4)])
def test_thin_is_what_writing_fewer_stages_gives(data, header, codes, stages, width):
    thinner = io.BytesIO()
    thin(io.BytesIO(data), thinner, stages)
    file = io.BytesIO()
    with VqkWriter(file, header) as writer:
        writer.write(codes[:, :width])
        writer.close(length=5260)
    assert thinner.getvalue() == file.getvalue()
    again = io.BytesIO()
    thin(io.BytesIO(thinner.getvalue()), again, 3)
    assert again.getvalue() == thinner.getvalue()


def test_thin_needs_no_tables_and_keeps_gaps(header, codes):
    file = io.BytesIO()
    tables = StaticTables.fit(header.code_sizes, [codes])
    with VqkWriter(file, header, entropy_model=tables) as writer:
        writer.write(codes)
    changed = bytearray(file.getvalue())
    changed[len(writer.header.to_bytes()) + 60] ^= 1
    thinner = io.BytesIO()
    thin(io.BytesIO(changed), thinner, 2)
    reader = VqkReader(io.BytesIO(thinner.getvalue()), entropy_model=tables, stages=2)
    expected = codes[:, :3].clone()
    expected[10:20] = -1
    assert torch.equal(reader.read(), expected)
    assert [(damage.start_frame, damage.frames) for damage in reader.damage] == [(10, 10)]


def test_a_cut_file_stays_one(data, codes):
    thinner, both = io.BytesIO(), io.BytesIO()
    thin(io.BytesIO(data[:200]), thinner, 1)
    reader = VqkReader(io.BytesIO(thinner.getvalue()), stages=1)
    assert (reader.complete, reader.pending_bytes) == (False, 0)
    assert torch.equal(reader.read(), codes[:30, :1])
    join([io.BytesIO(data[:200]), io.BytesIO(data)], both)
    assert torch.equal(VqkReader(io.BytesIO(both.getvalue())).read(), torch.cat([codes[:30], codes]))


def test_thin_a_file_in_place(tmp_path, data):
    path = tmp_path / "a.vqk"
    path.write_bytes(data)
    thin(path, path, 1)
    assert path.stat().st_size < len(data)
    assert VqkReader(path).frames == 53
    assert [file.name for file in tmp_path.iterdir()] == ["a.vqk"]


@pytest.mark.parametrize(
    ("start", "frames"), [(0, 53), (0, 0), (53, 0), (10, 20), (3, 4), (9, 2), (7, 46), (25, 20), (52, 1)]
)
@pytest.mark.parametrize("coded", [False, True])
def test_cut(data, header, codes, start, frames, coded):
    options = {}
    if coded:
        options["entropy_model"] = StaticTables.fit(header.code_sizes, [codes])
        file = io.BytesIO()
        with VqkWriter(file, header, **options) as writer:
            writer.write(codes)
            writer.close(length=5260)
        data = file.getvalue()
    reader = edited(cut, io.BytesIO(data), start, frames, **options)
    assert torch.equal(reader.read(), codes[start : start + frames])
    reader.require_intact()
    assert reader.length == (5260 - 100 * start if start + frames == 53 else 100 * frames) * (frames > 0)


def test_cut_at_chunks_needs_no_tables(header, codes):
    tables = StaticTables.fit(header.code_sizes, [codes])
    file = io.BytesIO()
    with VqkWriter(file, header, entropy_model=tables) as writer:
        writer.write(codes)
    part = io.BytesIO()
    cut(io.BytesIO(file.getvalue()), part, 10, 30)
    assert torch.equal(VqkReader(io.BytesIO(part.getvalue()), entropy_model=tables).read(), codes[10:40])
    with pytest.raises(BitstreamError, match="the codes need the static tables"):
        cut(io.BytesIO(file.getvalue()), io.BytesIO(), 11, 30)


def test_cut_keeps_gaps_and_stages(header, codes, data):
    changed = bytearray(data)
    changed[120] ^= 1  # frames 10 … 19
    thinner = io.BytesIO()
    thin(io.BytesIO(changed), thinner, 2)
    reader = edited(cut, io.BytesIO(thinner.getvalue()), 5, 40)
    expected = codes[5:45].clone()
    expected[:, 3:] = -1
    expected[5:15] = -1
    assert torch.equal(reader.read(), expected)
    # a gap at either end stays, too
    for start, frames in ((12, 20), (3, 12)):
        part = edited(cut, io.BytesIO(changed), start, frames)
        lost = codes.clone()
        lost[10:20] = -1
        assert torch.equal(part.read(), lost[start : start + frames])


@pytest.mark.parametrize(("start", "frames"), [(-1, 3), (0, 54), (54, 0), (3, -1)])
def test_cut_checks_its_range(data, start, frames):
    with pytest.raises(ValueError, match="the file has 53"):
        cut(io.BytesIO(data), io.BytesIO(), start, frames)


def test_join(data, header, codes, tmp_path):
    short = io.BytesIO()
    with VqkWriter(short, replace(header, metadata={"other": "notes"})) as writer:
        writer.write(codes[:7, :3])
        writer.close(length=650)
    reader = edited(join, [io.BytesIO(data), io.BytesIO(short.getvalue()), io.BytesIO(data)])
    expected = codes[:7].clone()
    expected[:, 3:] = -1
    assert torch.equal(reader.read(), torch.cat([codes, expected, codes]))
    assert reader.length == 5300 + 700 + 5260
    assert reader.header == header
    reader.require_intact()
    path = tmp_path / "a.vqk"
    path.write_bytes(data)
    join([path, path], path)
    assert torch.equal(VqkReader(path).read(), codes.repeat(2, 1))


def test_join_keeps_a_gap_at_the_end(data, codes):
    changed = bytearray(data)
    changed[300] ^= 1  # the last chunk
    reader = edited(join, [io.BytesIO(changed), io.BytesIO(data)])
    expected = codes.repeat(2, 1)
    expected[50:53] = -1
    assert torch.equal(reader.read(), expected)


def test_join_refuses_other_codes(data, header, tmp_path):
    other = io.BytesIO()
    VqkWriter(other, replace(header, model_hash="cd" * 8)).close()
    with pytest.raises(BitstreamError, match="has other codes, rates, model or tables than"):
        join([io.BytesIO(data), io.BytesIO(other.getvalue())], io.BytesIO())
    with pytest.raises(ValueError, match="there are no files to join"):
        join([], io.BytesIO())


def test_a_target_is_left_alone_when_the_source_is_bad(tmp_path, data):
    target = tmp_path / "a.vqk"
    target.write_bytes(b"old")
    with pytest.raises(BitstreamError, match="not a vqk file"):
        thin(io.BytesIO(b"junk"), target, 1)
    for stages in (0, 4):
        with pytest.raises(ValueError, match=f"stages is {stages}, the file has 1 to 3"):
            thin(io.BytesIO(data), target, stages)
    assert target.read_bytes() == b"old"


def test_streams_are_refused(data):
    class Stream(io.BytesIO):
        def seekable(self):
            return False

    for edit in (lambda: thin(Stream(data), io.BytesIO(), 1), lambda: join([Stream(data)], io.BytesIO())):
        with pytest.raises(ValueError, match="a stream that cannot be seeked can only be read with VqkReader"):
            edit()


def test_pictures(tmp_path):
    """A video of 4 pictures a second, each of 2 × 3 codes: lengths count pictures."""
    header = VqkHeader((8,), sample_rate=4, hop_samples=1, grid=(2, 3), image_size=(20, 30))
    codes = torch.arange(60)[:, None] % 8
    file = io.BytesIO()
    with VqkWriter(file, header) as writer:
        writer.write(codes)
        writer.close(length=10)
    part = edited(cut, io.BytesIO(file.getvalue()), 12, 18)
    assert torch.equal(part.read(), codes[12:30])
    assert part.length == 3
    both = edited(join, [io.BytesIO(file.getvalue()), io.BytesIO(file.getvalue())])
    assert both.length == 20
    assert VqkReader(io.BytesIO(file.getvalue() * 2)).length == 20
