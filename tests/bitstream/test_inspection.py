import io
import json

import pytest
import torch

from vqkit.bitstream import BitstreamError, StaticTables, VqkHeader, VqkWriter, inspect, thin


def test_what_is_told(data, header):
    found = inspect(io.BytesIO(data))
    assert json.loads(json.dumps(found)) == found
    expected = {
        "format_version": 1, "model": "test", "coding": "plain", "code_sizes": [16, 4375, 1, 300], "file_bytes": len(data), "frames": 53,
        "seconds": 5.3, "length": 5260, "chunks": 6, "stages": [3, 3], "complete": True, "pending_bytes": 0, "damage": [],
        "tables_bytes": 0, "frame_rate": 10.0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    # 10 codes of 16, of 4375 (two groups of 61 bits) with one of 1, and of 300 (99 bits, 29 in the last chunk: 300^3 needs 25 …)
    assert found["stage_bytes"][:2] == [5 * 5 + 2, 5 * 16 + 5]
    assert found["kbps"] == pytest.approx(len(data) * 8 / 5.3 / 1000)
    assert found["overhead_bytes"] == len(data) - sum(found["stage_bytes"])
    assert found["overhead_bytes"] == len(header.to_bytes()) + 9 + 6 * (2 + 1 + 1 + 1 + 3 + 8)


@pytest.mark.parametrize("num_stages", [3, 140])
def test_thinned_sizes_are_those_of_thinned_files(num_stages):
    header = VqkHeader((300,) * num_stages, sample_rate=100, hop_samples=1)
    file = io.BytesIO()
    with VqkWriter(file, header) as writer:
        writer.write(torch.randint(0, 300, (250, num_stages)))
        writer.write(torch.randint(0, 300, (250, 2)))
    found = inspect(io.BytesIO(file.getvalue()))
    assert found["stages"] == [2, num_stages]
    for stages in {1, 2, 3, num_stages // 2, num_stages - 1, num_stages}:
        thinner = io.BytesIO()
        thin(io.BytesIO(file.getvalue()), thinner, stages)
        assert found["thinned_bytes"][stages - 1] == len(thinner.getvalue())
        assert found["thinned_kbps"][stages - 1] == pytest.approx(len(thinner.getvalue()) * 8 / 5 / 1000)


def test_damage_and_missing_tables_are_told(data, header, codes):
    changed = bytearray(data)
    changed[120] ^= 1
    assert [(d["start_frame"], d["frames"]) for d in inspect(io.BytesIO(changed))["damage"]] == [(10, 10)]
    file = io.BytesIO()
    tables = StaticTables.fit(header.code_sizes, [codes])
    with VqkWriter(file, header, entropy_model=tables) as writer:
        writer.write(codes)
    found = inspect(io.BytesIO(file.getvalue()[:-3]))
    assert (found["coding"], found["tables_hash"], found["frames"]) == ("static", tables.tables_hash, 53)
    assert (found["complete"], found["pending_bytes"]) == (False, 5)


def test_without_time_and_without_a_file(tmp_path):
    path = tmp_path / "image.vqk"
    with VqkWriter(path, VqkHeader((8,), grid=(2, 3), image_size=(20, 30))):
        pass
    found = inspect(path)
    assert (found["seconds"], found["kbps"], found["thinned_kbps"], found["grid"]) == (None, None, [None], [2, 3])
    assert found["bpp"] == found["thinned_bpp"][0] == path.stat().st_size * 8 / 600
    with pytest.raises(BitstreamError, match="not a vqk file"):
        inspect(io.BytesIO(b"junk"))
