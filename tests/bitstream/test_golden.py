"""Files of format versions 1 to 3, read for ever, by every later version. Never write them anew: add files of a newer version."""

import io
import json
from pathlib import Path

import pytest
import torch

from vqkit.bitstream import VqkReader, VqkWriter, inspect, read_tables

HERE = Path(__file__).parent
SOUND, IMAGE, SOUND_BY_NEED, IMAGE_BY_NEED = (
    json.loads((HERE / f"golden_{name}.json").read_text("utf-8")) for name in ("v1", "v1_image", "v3", "v3_image")
)
FILES = {
    "golden_v1.vqk": ("plain", SOUND),
    "golden_v1_static.vqk": ("static", SOUND),
    "golden_v1_context.vqk": ("context", SOUND),
    "golden_v1_image.vqk": ("context", IMAGE),  # with the cell above
    "golden_v2_network.vqk": ("network", SOUND),
    "golden_v2_network_image.vqk": ("network", IMAGE),  # with the cells around
    # every frame has its own number of stages
    "golden_v3.vqk": ("plain", SOUND_BY_NEED),
    "golden_v3_static.vqk": ("static", SOUND_BY_NEED),
    "golden_v3_context.vqk": ("context", SOUND_BY_NEED),
    "golden_v3_image.vqk": ("context", IMAGE_BY_NEED),
}
CHUNK_FRAMES = dict.fromkeys(("golden_v1_image.vqk", "golden_v2_network_image.vqk", "golden_v3_image.vqk"), 44)


@pytest.mark.parametrize("name", FILES)
def test_golden_files_are_read(name):
    coding, expected = FILES[name]
    with VqkReader(HERE / name, model_hash=expected["header"]["model_hash"]) as reader:
        reader.require_intact()
        assert reader.read().tolist() == expected["codes"]
        assert torch.cat([block.codes for block in reader]).tolist() == expected["codes"]
        frames = len(expected["codes"])
        assert (reader.frames, reader.length, reader.header.coding) == (frames, expected["length"], coding)
        for field, value in expected["header"].items():
            found = getattr(reader.header, field)
            assert (list(found) if isinstance(value, list) else found) == value
    assert inspect(HERE / name)["format_version"] == int(name[len("golden_v")])


@pytest.mark.parametrize("name", FILES)
def test_golden_files_are_what_is_written(name):
    _, expected = FILES[name]
    reader = VqkReader(HERE / name)
    codes = reader.read()
    model = read_tables(reader.header.tables) if reader.header.tables else None
    file = io.BytesIO()
    variable = reader.header.variable_stages
    whole = (
        len(codes) if variable else int((codes >= 0).all(1).sum())
    )  # the last frames of version 1 lack the last stage
    with VqkWriter(
        file,
        reader.header,
        entropy_model=model,
        store_tables=model is not None,
        chunk_frames=CHUNK_FRAMES.get(name, 20),
    ) as writer:
        writer.write(codes[:whole])
        if not variable:
            writer.write(codes[whole:, :-1])
        writer.close(length=expected["length"])
    assert file.getvalue() == (HERE / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_the_documented_reader_reads_golden_files(name):
    """docs/vqk.md ends with a reader that knows nothing of vqkit."""
    page = (HERE.parents[1] / "docs" / "vqk.md").read_text("utf-8")
    (code,) = [block for block in page.split("```python\n") if "def read_vqk" in block]
    namespace: dict = {}
    exec(code.partition("\n```")[0].partition("\nassert read_vqk")[0], namespace)
    assert namespace["read_vqk"]((HERE / name).read_bytes()) == FILES[name][1]["codes"]
