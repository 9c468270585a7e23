import io
import os
import re
import stat

import pytest
import torch

from vqkit.bitstream import StaticTables, VqkHeader, VqkReader, VqkWriter, fit_contexts


@pytest.mark.parametrize("blocks", [[53], [1] * 53, [9, 10, 11, 0, 23], [10, 43]])
def test_blocks_of_any_size_make_the_same_file(header, codes, data, blocks):
    file = io.BytesIO()
    with VqkWriter(file, header) as writer:
        for block in codes.split(blocks):
            writer.write(block)
        assert writer.frames == 53
        writer.close(length=5260)
    assert file.getvalue() == data
    assert writer.bytes_written == len(data)


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("kind", ["static", "context"])
def test_entropy_models(header, codes, kind, store):
    sizes = header.code_sizes
    model = StaticTables.fit(sizes, [codes]) if kind == "static" else fit_contexts(sizes, [codes], classes=2)
    file = io.BytesIO()
    with VqkWriter(file, header, entropy_model=model, store_tables=store) as writer:
        writer.write(codes)
    assert (writer.header.coding, writer.header.tables_hash) == (kind, model.tables_hash)
    assert writer.header.tables == (model.to_bytes() if store else b"")
    reader = VqkReader(io.BytesIO(file.getvalue()), entropy_model=None if store else model)
    assert torch.equal(reader.read(), codes)
    assert reader.complete


def test_chunks_are_a_second_by_default():
    for arguments, expected in (
        ({"sample_rate": 24000, "hop_samples": 320}, 75),
        ({"sample_rate": 1, "hop_samples": 10}, 1),
        ({"sample_rate": 25, "hop_samples": 1, "grid": (16, 16)}, 6400),
        ({}, 4096),
    ):
        assert VqkWriter(io.BytesIO(), VqkHeader((4, 4), **arguments)).chunk_frames == expected
    assert VqkWriter(io.BytesIO(), VqkHeader((4,) * 1024)).chunk_frames == 256


def test_fewer_stages_begin_a_new_chunk(header, codes):
    file = io.BytesIO()
    with VqkWriter(file, header) as writer:
        writer.write(codes[:15])
        writer.write(codes[15:27, :1])
        writer.write(codes[27:, :3])
    blocks = list(VqkReader(io.BytesIO(file.getvalue())))
    assert [len(block.codes) for block in blocks] == [10, 5, 10, 2, 10, 10, 6]
    back = torch.cat([block.codes for block in blocks])
    expected = codes.clone()
    expected[15:27, 1:] = -1
    expected[27:, 3:] = -1
    assert torch.equal(back, expected)


def test_flush_ends_a_chunk(header, codes):
    file = io.BytesIO()
    writer = VqkWriter(file, header, chunk_frames=20)
    writer.write(codes[:3])
    assert VqkReader(io.BytesIO(file.getvalue())).frames == 0
    writer.flush()
    writer.flush()
    assert VqkReader(io.BytesIO(file.getvalue())).frames == 3


def test_a_file_appears_when_it_is_complete(tmp_path, header, codes, data):
    path = tmp_path / "deep" / "a.vqk"
    with VqkWriter(path, header) as writer:
        writer.write(codes)
        assert not path.exists()
        writer.close(length=5260)
        writer.close()
        assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["a.vqk"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_an_exception_leaves_the_old_file(tmp_path, header, codes):
    path = tmp_path / "a.vqk"
    path.write_bytes(b"old")

    def fail():
        with VqkWriter(path, header) as writer:
            writer.write(codes)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with pytest.raises(ValueError, match="length is 99999"), VqkWriter(path, header) as writer:
        writer.close(length=99999)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.vqk"]


def test_links_and_devices_stay(tmp_path, header, codes):
    target, link = tmp_path / "target.vqk", tmp_path / "link.vqk"
    link.symlink_to(target)
    with pytest.raises(ValueError, match=r"link.vqk: it is a link to .*target.vqk, which does not exist"):
        VqkWriter(link, header)  # whoever made the link says where the file lies
    target.touch()
    with VqkWriter(link, header) as writer:
        writer.write(codes)
    assert link.is_symlink()
    assert VqkReader(target).frames == 53
    with VqkWriter("/dev/null", header) as writer:
        writer.write(codes)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_stream_stays_open_and_appending_works(tmp_path, header, codes):
    path = tmp_path / "a.vqk"
    with open(path, "ab") as file:
        with VqkWriter(file, header) as writer:
            writer.write(codes[:20])
        assert not file.closed
    with open(path, "ab") as file, VqkWriter(file, header) as writer:
        writer.write(codes[20:])
    assert torch.equal(VqkReader(path).read(), codes)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.int64), "codes have shape (3, 2), expected (frames, n) with n one of 1, 3, 4"),
        (torch.zeros(4, dtype=torch.int64), "codes have shape (4,)"),
        (torch.zeros(3, 4), "codes have dtype torch.float32, expected integers"),
        (torch.zeros(3, 4, dtype=torch.bool), "codes have dtype torch.bool"),
        (torch.tensor([[0, 0, 0, 0], [0, 4375, 0, 0]]), "code 1 of frame 1 is 4375, allowed are 0 to 4374"),
        (torch.tensor([[-1, 0, 0, 0]]), "code 0 of frame 0 is -1, allowed are 0 to 15"),
    ],
)
def test_codes_are_checked(header, codes, bad, message):
    file = io.BytesIO()
    writer = VqkWriter(file, header)
    writer.write(codes[:5])
    with pytest.raises(ValueError, match=re.escape(message)):
        writer.write(bad)
    writer.write(codes[5:])
    writer.close()
    assert torch.equal(VqkReader(io.BytesIO(file.getvalue())).read(), codes)
    with pytest.raises(ValueError, match="the writer is closed"):
        writer.write(codes)


def test_arguments_are_checked(header):
    with pytest.raises(ValueError, match="chunk_frames is 0, allowed are 1 to 65536 with 4 codes a frame"):
        VqkWriter(io.BytesIO(), header, chunk_frames=0)
    with pytest.raises(ValueError, match="chunk_frames is 65537"):
        VqkWriter(io.BytesIO(), header, chunk_frames=65537)
    with pytest.raises(ValueError, match=re.escape("the entropy model is for code sizes (3,), the header has (16,")):
        VqkWriter(io.BytesIO(), header, entropy_model=StaticTables.fit([3], []))
    with pytest.raises(ValueError, match="length is -1 samples, 0 frames hold 0 to 0"):
        VqkWriter(io.BytesIO(), header).close(length=-1)


@pytest.mark.parametrize(
    ("grid", "size", "chunk"),
    [
        ((100, 40), 16, 102 * 40),
        ((3, 5000), 16, 5000),
        ((2, 70000), 16, 1 << 16),
        ((64,), 16, 4096),
        ((100, 600), 60000, 600),
    ],
)
def test_chunks_of_images_are_whole_rows(grid, size, chunk):
    """Of 60000 codes with contexts only 1109 frames go into a chunk: 2^26 / (60000 + 512)."""
    model = fit_contexts((size,), [torch.zeros(1, 1, dtype=torch.int64)], classes=1) if size > 16 else None
    writer = VqkWriter(io.BytesIO(), VqkHeader((size,), grid=grid, image_size=(8, 8)), entropy_model=model)
    assert writer.chunk_frames == chunk
