"""The first part of the demo on a tiny codec that was never trained: real files, honest sizes, nothing done twice."""

import io
import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from vqkit import RVQ
from vqkit.bitstream import inspect
from vqkit.cli import main
from vqkit.compare import codec_demo as module
from vqkit.compare import coded_parts, demo_command
from vqkit.data import read_audio
from vqkit.evaluate.codec_demo import CodecDemo, codec_demo
from vqkit.metrics import SISDR
from vqkit.models import load_codec
from vqkit.models.audio.spectral_codec import SpectralCodec
from vqkit.report import load_rate_results


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codec") / "tiny"
    torch.manual_seed(0)
    quantizer = RVQ(dim=16, codebook_size=64, num_quantizers=12)
    SpectralCodec(quantizer, encoder_width=16, decoder_width=16).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def asked(model):
    return CodecDemo(model, kbps=(0.2, 0.75, 3, 6, 7), opus_kbps=(8,), excerpts=1, seconds=2.5)


@pytest.fixture(scope="module")
def finished(asked, tmp_path_factory):
    out, events = tmp_path_factory.mktemp("out"), []
    path = codec_demo(asked, out, "vqkit demo", lambda *event: events.append(event))
    return out, json.loads(path.read_text("utf-8")), events


def test_files_have_the_sizes_that_are_told(finished, model):
    out, results, _ = finished
    assert len(results["values"]) == 2 * (3 + 1)
    codec = load_codec(model)
    for value in results["values"]:
        sound = next(sound for sound in results["sounds"] if sound["name"] == value["sound"])
        assert read_audio(out / value["audio"]).seconds == pytest.approx(sound["seconds"])
        if value["vqk"] is None:
            assert value["system"] == "Opus 8 kbps"
            continue
        data = (out / value["vqk"]).read_bytes()
        assert len(data) == value["file_bytes"]
        assert sum(inspect(io.BytesIO(data))["stage_bytes"]) == value["packet_bytes"]
        decoded, rate = codec.decompress(data)
        heard = read_audio(out / value["audio"])
        assert rate == heard.sample_rate == 16000
        torch.testing.assert_close(heard.samples, decoded.clamp(-1, 1), atol=2**-15, rtol=0)


def test_rates_are_those_of_the_bytes(finished):
    _, results, _ = finished
    for row in results["rows"]:
        own = [v for v in results["values"] if (v["kind"], v["system"]) == (row["kind"], row["system"])]
        seconds = sum(value["seconds"] for value in own)
        assert row["kbps"] == pytest.approx(8 * sum(value["packet_bytes"] for value in own) / seconds / 1000)
        assert row["file_kbps"] == pytest.approx(8 * sum(value["file_bytes"] for value in own) / seconds / 1000)
    for value in results["values"]:
        stages = {"vqkit 0.75 kbps": 2, "vqkit 3 kbps": 10, "vqkit 6 kbps": 12}.get(value["system"])
        chunks, frames = divmod(math.ceil(value["seconds"] * 50 - 1e-9), 50)  # chunks of a second, codes of six bits
        assert stages is None or value["packet_bytes"] == stages * (chunks * 38 + math.ceil(frames * 6 / 8))


def test_values_are_those_of_the_metrics(finished):
    out, results, _ = finished
    value, sound = results["values"][-1], results["sounds"][-1]
    metric = SISDR()
    metric.update(read_audio(out / value["audio"]).samples[None], read_audio(out / sound["original"]).samples[None])
    assert value["values"]["si_sdr"] == pytest.approx(float(metric.compute()), rel=0.01)  # 16 bits in between


def test_rates_that_the_codec_lacks_are_named(finished):
    _, results, _ = finished
    assert results["notes"] == [
        "0.2 kbps is left out: the lowest rate of this codec is 0.3 kbps.",
        "7 kbps is left out: this codec is at its 6 kbps there too.",
    ]


def test_the_record_is_complete(finished, model):
    out, results, events = finished
    assert (results["title"], results["command"]) == ("The codec tiny", "vqkit demo")
    assert results["codec"]["model"] == "SpectralCodec"
    assert len(results["codec"]["weights"]) == 64
    assert [told["excerpts"] for told in results["data"].values()] == [1, 1]
    assert [event[2:] for event in events] == [(i, 8) for i in range(8)]
    assert events[0][1] == "vqkit 0.75 kbps"
    assert "pesq" in results["protocols"]["speech"]
    assert "pesq" not in results["protocols"]["music"]
    loaded = load_rate_results(out)
    assert [row.system for row in loaded.of("music")] == [f"vqkit {rate} kbps" for rate in (0.75, 3, 6)] + [
        "Opus 8 kbps"
    ]


def test_nothing_is_done_twice(finished, asked, monkeypatch):
    out, before, _ = finished
    calls = []

    def told(sounds, systems, **options):
        calls.append((sounds[0].kind, systems[sounds[0].kind][0].name))
        return original(sounds, systems, **options)

    original = coded_parts.judge
    monkeypatch.setattr(coded_parts, "judge", told)
    after = json.loads(codec_demo(asked, out, "vqkit demo").read_text("utf-8"))
    assert calls == []
    assert {**after, "created": ""} == {**before, "created": ""}
    codec_demo(replace(asked, opus_kbps=(8, 12)), out, "vqkit demo")
    assert calls == [("speech", "Opus 12 kbps"), ("music", "Opus 12 kbps")]


def test_other_weights_are_another_run(finished, asked, model, tmp_path):
    out, before, _ = finished
    codec = load_codec(model)
    with torch.no_grad():
        codec.decoder.turn.bias.add_(0.01)
    codec.save_pretrained(tmp_path / "tiny")
    parts = {path.name for path in (out / "runs").iterdir()}
    other = replace(asked, model=tmp_path / "tiny", kbps=(0.75,))
    after = json.loads(codec_demo(other, out, "vqkit demo").read_text("utf-8"))
    assert after["codec"]["weights"] != before["codec"]["weights"]
    assert len({path.name for path in (out / "runs").iterdir()} - parts) == 2


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "pesq" else name)
    assert module._not_installed() == [
        "PESQ of speech is missing here: pip install 'vqkit[perceptual]' and run this again."
    ]


def test_a_rate_below_all_is_refused(asked, tmp_path):
    with pytest.raises(ValueError, match="kbps must hold a rate from 0.3 up, got 0.1"):
        codec_demo(replace(asked, kbps=(0.1,)), tmp_path, "")
    assert not list(tmp_path.iterdir())


def test_command_line(model, tmp_path, monkeypatch, capsys):
    small = partial(CodecDemo, kbps=(3,), opus_kbps=(8,), excerpts=1, seconds=2.0)
    monkeypatch.setattr(demo_command, "CodecDemo", small)
    flags = [
        "--seeds",
        "[0]",
        "--listen",
        "1",
        "--data.max_train",
        "2",
        "--data.max_test",
        "2",
        "--backbone.steps",
        "1",
    ]
    systems = ["--systems", '{"VQ 1×4": "VQ(dim, 4)"}']
    assert main(["demo", "--model", str(model), "--out", str(tmp_path), *flags, *systems]) == 0
    shown = capsys.readouterr().out
    assert "coding ru_vm_savefolder" in shown
    assert "The codec tiny: music" in shown
    assert "report.html" in shown
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.index("The codec tiny") < page.index("Quantizers on real sound")
    assert "vqkit demo --model" in json.loads((tmp_path / "results.json").read_text("utf-8"))["command"]


def test_bad_command_lines(tmp_path, capsys, monkeypatch):
    assert main(["demo", "--model", str(tmp_path / "nothing")]) == 2
    assert "nothing is not a folder of a saved codec" in capsys.readouterr().err
    assert main(["demo", "--model"]) == 2
    assert "--model: expected one argument" in capsys.readouterr().err
    assert main(["demo", "--model", str(tmp_path), "--colour", "red"]) == 2
    assert "colour" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "vqkit: av is not installed: pip install 'vqkit[audio]'\n"
