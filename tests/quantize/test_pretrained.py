import json
import threading

import pytest
import torch

from vqkit import IVQ, RVQ, VQ, Quantizer, Residual
from vqkit.quantize import pretrained


def saved(tmp_path):
    VQ(4, 8).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_the_config_is_the_expression(tmp_path):
    Residual([VQ(4, 8), VQ(4, 2, update="ema")], stage_dropout=0.5).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["class"] == "Residual"
    assert config["arguments"]["stage_dropout"] == 0.5
    assert [stage["arguments"]["codebook_size"] for stage in config["arguments"]["stages"]] == [8, 2]


def test_loading_another_class_is_refused(tmp_path):
    with pytest.raises(ValueError, match="config names the quantizer 'VQ'; known here: IVQ"):
        IVQ.from_pretrained(saved(tmp_path))


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is not a saved quantizer: config\.json is missing"):
        VQ.from_pretrained(tmp_path)
    folder = saved(tmp_path)
    rewrite(folder, **{"class": "os.system"})
    with pytest.raises(ValueError, match=r"config names the quantizer 'os\.system'"):
        Quantizer.from_pretrained(folder)
    rewrite(folder, **{"class": "VQ", "arguments": {"dim": 4, "size": 3}})
    with pytest.raises(ValueError, match="config does not fit VQ: .*size"):
        VQ.from_pretrained(folder)
    rewrite(folder, arguments={"dim": 4, "codebook_size": 8, "decay": "0.9"})
    with pytest.raises(ValueError, match="decay of VQ must be float, got '0.9'"):
        VQ.from_pretrained(folder)
    rewrite(folder, arguments={"dim": 5, "codebook_size": 8})
    with pytest.raises(ValueError, match="the weights in .* do not fit its config"):
        VQ.from_pretrained(folder)
    rewrite(folder, dtype="int8")
    with pytest.raises(ValueError, match="has dtype 'int8'; allowed: float64, float32"):
        VQ.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        VQ.from_pretrained(folder)
    (saved(folder) / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="the weights in .* do not fit its config"):
        VQ.from_pretrained(folder)


def test_unsaveable_arguments_are_named():
    q = VQ(4, 8)
    q._arguments["init"] = threading.Lock()
    with pytest.raises(TypeError, match="cannot save a constructor argument of type lock"):
        pretrained.expression(q)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    folder = saved(tmp_path)
    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(pretrained.os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        VQ(4, 8).save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_a_user_s_own_quantizer_saves_and_loads(tmp_path):
    class Halved(VQ):
        pass

    Halved(4, 8).save_pretrained(tmp_path)
    assert type(Quantizer.from_pretrained(tmp_path)) is Halved


def test_a_deep_copy_is_independent():
    import copy

    q = VQ(4, 8)
    other = copy.deepcopy(q)
    with torch.no_grad():
        other.codebook.weight.zero_()
    assert q.codebook.weight.abs().sum() > 0
    assert other._arguments == q._arguments


def test_options_of_leaves_are_saved_flat_with_their_defaults_and_read_from_both_forms():
    quantizer = RVQ(8, 4, 2, decay=0.9, gradient="diveq")
    config = pretrained.expression(quantizer)
    assert config["arguments"]["decay"] == 0.9
    assert config["arguments"]["gradient"] == "diveq"
    assert config["arguments"]["update"] == "ema"
    assert "options" not in config["arguments"]
    assert pretrained.from_expression(Quantizer, config).quantizer.stages[1].codebook.decay == 0.9
    arguments = {"dim": 8, "codebook_size": 4, "num_quantizers": 2, "decay": 0.5, "options": {"gradient": "rotation"}}
    older = pretrained.from_expression(Quantizer, {"class": "RVQ", "arguments": arguments}).quantizer.stages[0]
    assert older.gradient == "rotation"
    assert older.codebook.decay == 0.5
    with pytest.raises(ValueError, match="decay of VQ must be float, got 'much'"):
        pretrained.from_expression(Quantizer, {"class": "RVQ", "arguments": {**arguments, "decay": "much"}})
    with pytest.raises(ValueError, match="unexpected argument 'weight'"):
        pretrained.from_expression(Quantizer, {"class": "RVQ", "arguments": {**arguments, "weight": 1}})
