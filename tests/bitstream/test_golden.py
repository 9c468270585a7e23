"""Files of format version 1 that must be read for ever, by every later version. Never write them anew: add files of a newer version."""

import io
import json
from pathlib import Path

import pytest
import torch

from vqkit.bitstream import VqkReader, VqkWriter, inspect, read_tables
from vqkit.bitstream.limits import FORMAT_VERSION

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "golden_v1.json").read_text("utf-8"))
FILES = {"plain": "golden_v1.vqk", "static": "golden_v1_static.vqk", "context": "golden_v1_context.vqk"}


@pytest.mark.parametrize("coding", FILES)
def test_golden_files_are_read(coding):
    with VqkReader(HERE / FILES[coding], model_hash="00112233445566778899aabbccddeeff") as reader:
        reader.require_intact()
        assert reader.read().tolist() == EXPECTED["codes"]
        assert torch.cat([block.codes for block in reader]).tolist() == EXPECTED["codes"]
        assert (reader.frames, reader.length, reader.header.coding) == (60, EXPECTED["length"], coding)
        for name, value in EXPECTED["header"].items():
            found = getattr(reader.header, name)
            assert (list(found) if isinstance(value, list) else found) == value
    assert inspect(HERE / FILES[coding])["format_version"] == 1


@pytest.mark.skipif(FORMAT_VERSION != 1, reason="the writer writes a newer version")
@pytest.mark.parametrize("coding", FILES)
def test_golden_files_are_what_is_written(coding):
    reader = VqkReader(HERE / FILES[coding])
    codes = reader.read()
    model = read_tables(reader.header.tables) if reader.header.tables else None
    file = io.BytesIO()
    with VqkWriter(file, reader.header, entropy_model=model, store_tables=model is not None, chunk_frames=20) as writer:
        writer.write(codes[:40])
        writer.write(codes[40:, :4])
        writer.close(length=EXPECTED["length"])
    assert file.getvalue() == (HERE / FILES[coding]).read_bytes()


@pytest.mark.parametrize("coding", FILES)
def test_the_documented_reader_reads_golden_files(coding):
    """docs/vqk.md ends with a reader that knows nothing of vqkit."""
    page = (HERE.parents[1] / "docs" / "vqk.md").read_text("utf-8")
    (code,) = [block for block in page.split("```python\n") if "def read_vqk" in block]
    namespace: dict = {}
    exec(code.partition("\n```")[0].partition("\nassert read_vqk")[0], namespace)
    assert namespace["read_vqk"]((HERE / FILES[coding]).read_bytes()) == EXPECTED["codes"]
