import json
import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from vqkit.training import SafeCheckpointIO


def roundtrip(checkpoint, path):
    io = SafeCheckpointIO()
    io.save_checkpoint(checkpoint, path)
    return io.load_checkpoint(path)


def test_everything_a_checkpoint_holds_comes_back(tmp_path):
    weight = torch.randn(3, 4)
    checkpoint = {
        "step": 7,
        "rate": 0.1 + 0.2,
        "done": False,
        "none": None,
        "text": "ü/…",
        "betas": (0.8, (1, [2.5])),
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "sum": weight.double()}, 1: {}},
            "groups": [{"params": [0, 1]}],
        },
        "dtypes": [torch.tensor([True]), torch.tensor(3), torch.ones(2, dtype=torch.bfloat16), torch.zeros(0, 5)],
        "random": torch.get_rng_state(),
        ("a", 1): "tuple as a key",
        "infinite": float("inf"),
    }
    found = roundtrip(checkpoint, tmp_path / "folder" / "last.safetensors")
    assert found.keys() == checkpoint.keys()
    for key in ("step", "rate", "done", "none", "text", "betas", ("a", 1), "infinite"):
        assert found[key] == checkpoint[key]
        assert type(found[key]) is type(checkpoint[key])
    assert found["optimizer"]["groups"] == [{"params": [0, 1]}]
    assert torch.equal(found["optimizer"]["state"][0]["sum"], weight.double())
    assert found["optimizer"]["state"][0]["step"].shape == ()
    for one, other in zip(found["dtypes"], checkpoint["dtypes"], strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert torch.equal(found["random"], checkpoint["random"])


def test_views_and_shared_tensors_are_kept_apart(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    checkpoint = OrderedDict(base=base, same=base, row=base[1], column=base[:, 2], turned=base.T)
    found = roundtrip(checkpoint, tmp_path / "x")
    for name, value in checkpoint.items():
        assert torch.equal(found[name], value)
    found["same"].zero_()
    assert torch.equal(found["base"], base)


def test_what_cannot_be_kept_is_named_and_the_old_file_stays(tmp_path):
    path = tmp_path / "last.safetensors"
    roundtrip({"epoch": 1}, path)
    with pytest.raises(TypeError, match="checkpoint/callbacks/own holds set, which a checkpoint cannot: {1}"):
        SafeCheckpointIO().save_checkpoint({"callbacks": {"own": {1}}}, path)
    assert SafeCheckpointIO().load_checkpoint(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.safetensors"]
    SafeCheckpointIO().remove_checkpoint(path)
    assert not path.exists()


def test_other_files_are_refused_and_pickles_are_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise AssertionError('a pickle was loaded')",)

    pickled, plain, odd = tmp_path / "a.ckpt", tmp_path / "b.safetensors", tmp_path / "c.safetensors"
    pickled.write_bytes(pickle.dumps(Bomb()))
    save_file({"x": torch.zeros(1)}, plain)
    save_file({"x": torch.zeros(1)}, odd, metadata={"vqkit-checkpoint": json.dumps({"dict": [["y", {"tensor": "z"}]]})})
    for path in (pickled, plain, odd):
        with pytest.raises(ValueError, match="is not a vqkit checkpoint"):
            SafeCheckpointIO().load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint: .*missing"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "missing")
