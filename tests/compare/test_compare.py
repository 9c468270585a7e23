"""The main job on small generated sound: cached, resumable, honest about rates."""

import json
import math
import shutil

import pytest
import soundfile
import torch

from vqkit.bitstream import encode_codes
from vqkit.cli import main
from vqkit.compare import runner
from vqkit.compare.backbones.frames import Backbone
from vqkit.compare.command import finish
from vqkit.compare.runner import Comparison, Dataset, compare
from vqkit.data import read_audio, write_audio
from vqkit.models.audio.frames import FrameCodec
from vqkit.report import load_results, markdown_table

SYSTEMS = {"RVQ 2×8": "RVQ(dim, 8, 2)", "PVQ 2×8": "PVQ(dim, 8, 2)", "VQ <16>": "VQ(dim, 16)", "IVQ": "IVQ(dim)"}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    generator = torch.Generator().manual_seed(0)
    rows = ["path,split,group"]
    for split in ("train", "test"):
        for group in ("music", "speech"):
            for index in range(2):
                path = folder / split / group / f"{split}_{group}_{index}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                t = torch.arange(24000 * 3 // 2) / 16000
                pitch = 200 * (1 + torch.rand(1, generator=generator)) * (1 + (group == "speech"))
                tone = 0.3 * torch.sin(2 * math.pi * pitch * t) * (1 + 0.5 * torch.sin(9 * t))
                write_audio(path, (tone + 0.02 * torch.randn(len(t), generator=generator))[None], 16000)
                rows.append(f"{path.relative_to(folder)},{split},{group}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def what(sounds, **changes) -> Comparison:
    backbone = Backbone(sample_rate=16000, hop_samples=48, steps=changes.pop("steps", 3), batch_size=2, run_frames=16)
    values = {"systems": SYSTEMS, "backbone": backbone, "data": Dataset(str(sounds)), "seeds": (0, 1), "listen": 2}
    return Comparison(**{**values, **changes})


@pytest.fixture(scope="module")
def finished(sounds, tmp_path_factory):
    events = []
    out = compare(what(sounds), tmp_path_factory.mktemp("out"), "vqkit compare", lambda *event: events.append(event))
    return out, events


def test_every_row_is_complete(finished):
    out, events = finished
    results = json.loads((out / "results.json").read_text())
    assert [s["name"] for s in results["systems"]] == list(SYSTEMS)
    for system in results["systems"]:
        assert all(len(measure["values"]) == 2 for measure in system["metrics"].values())
        assert set(system["metrics"]) == set(results["protocols"])
        assert len(system["loss_curve"]["loss"]) > 1
        assert system["residual_energy"][0] == 1.0
        assert len(system["reconstructions"]) == 2
        for path in [*system["reconstructions"].values(), results["clips"][0]["original"]]:
            assert read_audio(out / path).seconds == pytest.approx(2.25, abs=0.01)
    rvq = results["systems"][0]
    assert (rvq["codebook_floats"], rvq["bits_per_token"]) == (2 * 8 * 48, 6.0)
    assert [point["stages"] for point in rvq["rate_curve"]] == [1, 2]
    assert results["systems"][2]["rate_curve"] is None
    assert min(s["train_time_ratio"]["mean"] for s in results["systems"]) == pytest.approx(1.0)
    assert {name for name, _, row in events if row is not None} == set(SYSTEMS)


def test_the_rate_is_that_of_bytes_really_written(finished, sounds):
    out, _ = finished
    results = json.loads((out / "results.json").read_text())
    codec = FrameCodec.from_pretrained(
        next(p.parent for p in out.glob("runs/*/training.json") if is_run(p, "RVQ(dim, 8, 2)", 0))
    )
    size = seconds = 0.0
    for clip in Dataset(str(sounds)).clips(training=False):
        wave = read_audio(clip.path, 16000, channels=1).samples[None]
        codes = codec.encode(wave)[0].T
        size += len(encode_codes(codes, codec.quantizer.code_sizes))
        seconds += wave.shape[-1] / 16000
    measured = results["systems"][0]["kbps"]
    assert measured["values"][0] == pytest.approx(8 * size / seconds / 1000)
    assert measured["mean"] == pytest.approx(6 * 16 / 48, rel=0.02)
    assert results["systems"][0]["entropy_kbps"]["mean"] <= 1.05 * measured["mean"]


def is_run(path, expression, seed):
    run = json.loads(path.read_text())
    return (run["expression"], run["seed"]) == (expression, seed)


def test_finished_runs_are_used_again_and_missing_ones_made(finished, sounds, monkeypatch, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "out")
    before = json.loads((out / "results.json").read_text())
    trained = []
    original = Backbone.train
    monkeypatch.setattr(
        Backbone, "train", lambda self, q, *rest: trained.append(type(q).__name__) or original(self, q, *rest)
    )
    compare(what(sounds), out, "vqkit compare")
    assert trained == []
    after = json.loads((out / "results.json").read_text())
    assert after["systems"] == before["systems"]
    compare(what(sounds, systems={**SYSTEMS, "FSQ": "FSQ(dim, [5, 5])"}, seeds=(0,)), out, "vqkit compare")
    assert trained == ["FSQ"]
    compare(what(sounds, steps=4, systems={"IVQ": "IVQ(dim)"}, seeds=(0,)), out, "vqkit compare")
    assert trained == ["FSQ", "IVQ"]


def test_an_interrupted_comparison_goes_on(sounds, tmp_path, monkeypatch):
    original, calls = Backbone.measure, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(Backbone, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(what(sounds, seeds=(0,)), tmp_path, "vqkit compare")
    partial = json.loads((tmp_path / "results.json").read_text())
    assert [s["name"] for s in partial["systems"]] == ["RVQ 2×8"]
    compare(what(sounds, seeds=(0,)), tmp_path, "vqkit compare")
    assert len(calls) == 2 + 3
    assert len(json.loads((tmp_path / "results.json").read_text())["systems"]) == 4


def test_seeds_make_different_runs_and_the_same_seed_the_same(finished, sounds, tmp_path):
    out, _ = finished
    first = json.loads((out / "results.json").read_text())["systems"][0]["metrics"]["snr"]["values"]
    assert first[0] != first[1]
    compare(what(sounds, systems={"RVQ 2×8": SYSTEMS["RVQ 2×8"]}), tmp_path, "vqkit compare")
    again = json.loads((tmp_path / "results.json").read_text())["systems"][0]["metrics"]["snr"]["values"]
    assert again == pytest.approx(first, rel=1e-4)


def test_repeat_only_runs_the_others_once(sounds, tmp_path):
    compare(what(sounds, systems=dict(list(SYSTEMS.items())[:2]), repeat_only=("PVQ 2×8",)), tmp_path, "vqkit compare")
    rows = json.loads((tmp_path / "results.json").read_text())["systems"]
    assert [len(row["kbps"]["values"]) for row in rows] == [1, 2]


def test_a_metric_that_needs_more_clips_is_left_blank(sounds, tmp_path):
    shutil.copytree(sounds / "train", tmp_path / "one" / "train")
    (tmp_path / "one" / "test").mkdir()
    wave = read_audio(sounds / "test" / "music" / "test_music_0.flac", seconds=1.0)
    write_audio(tmp_path / "one" / "test" / "short.flac", wave.samples, wave.sample_rate)
    asked = what(tmp_path / "one", systems={"RVQ 2×8": SYSTEMS["RVQ 2×8"]}, listen=1)
    out = compare(asked, tmp_path / "out", "vqkit compare")
    system = json.loads((out / "results.json").read_text())["systems"][0]
    assert system["metrics"].pop("fd_logmel") == {"mean": None, "std": None, "values": [None, None]}
    assert all(measure["mean"] is not None for measure in system["metrics"].values())
    assert [point["metrics"]["fd_logmel"] for point in system["rate_curve"]] == [None, None]
    assert load_results(out).systems[0].metrics["snr"].values == tuple(system["metrics"]["snr"]["values"])
    assert "| – |" in markdown_table(load_results(out))


def test_the_report_names_the_metrics_and_the_classifiers_weights(finished):
    protocols = json.loads((finished[0] / "results.json").read_text())["protocols"]
    assert list(protocols)[:2] == ["mel_distance", "snr"]
    names = {key: protocols[key]["name"] for key in ("si_sdr", "kld_vqkit_sounds", "fd_logmel")}
    assert names == {"si_sdr": "SI-SDR", "kld_vqkit_sounds": "KLD vqkit sounds", "fd_logmel": "FD logmel"}
    assert len(protocols["kld_vqkit_sounds"]["sha256"]) == 64
    text = markdown_table(load_results(finished[0]))
    assert protocols["kld_vqkit_sounds"]["sha256"][:12] in text
    assert protocols["kld_vqkit_sounds"]["sha256"] not in text


def test_clips_of_groups_take_turns(sounds):
    assert [clip.group for clip in Dataset(str(sounds)).clips(training=False)] == ["music", "speech"] * 2
    assert len(Dataset(str(sounds), max_test=2).clips(training=False)) == 2
    assert {clip.group for clip in Dataset(str(sounds), groups=("speech",)).clips(training=True)} == {"speech"}


def test_clips_that_cannot_be_read_are_left_out_and_named(sounds, tmp_path):
    shutil.copytree(sounds, tmp_path / "sounds")
    first, second = sorted((tmp_path / "sounds/test/music").iterdir())
    first.write_bytes(b"fLaC")
    soundfile.write(second, [0.0] * 16000 + [float("inf")], 16000, "FLOAT", format="WAV")
    with pytest.warns(UserWarning, match="skipped") as caught:
        clips = Dataset(str(tmp_path / "sounds")).clips(training=False)
    assert [clip.group for clip in clips] == ["speech", "speech"]
    texts = [str(warning.message) for warning in caught]
    assert [text.partition(": ")[0] for text in texts] == ["skipped 1 of 4 clips", f"skipped {second}"]
    assert "holds NaN or infinite samples: the first is inf at sample 16000" in texts[1]


@pytest.mark.filterwarnings("ignore:.*the samples reach")
def test_clips_far_outside_full_scale_are_left_out_and_named(sounds, tmp_path):
    shutil.copytree(sounds, tmp_path / "sounds")
    first, _ = sorted((tmp_path / "sounds/test/music").iterdir())
    soundfile.write(first, [1e19] * 16000, 16000, "FLOAT", format="WAV")
    with pytest.warns(UserWarning, match=rf"skipped {first}: reaches 1e\+19"):
        assert len(Dataset(str(tmp_path / "sounds")).clips(training=False)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"systems": {}}, "systems is empty"),
        ({"seeds": (1, 1)}, r"seeds must be different, at least one, got \[1, 1\]"),
        ({"systems": {"x": "IVQ(dim + 1)"}}, r"x \(dim = 48\): dim must be a multiple of lines"),
        ({"repeat_only": ("nobody",)}, "repeat_only names nobody; the systems are RVQ"),
    ],
)
def test_mistakes_show_before_anything_runs(sounds, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        compare(what(sounds, **changes), tmp_path, "vqkit compare")
    assert not list(tmp_path.iterdir())


def test_unknown_groups_and_empty_splits(sounds):
    with pytest.raises(ValueError, match="groups names birds; the test split of .* has music, speech"):
        Dataset(str(sounds), groups=("birds",)).clips(training=False)
    with pytest.raises(ValueError, match="has no audio of split 'valid'"):
        Dataset(str(sounds), split="valid").clips(training=False)
    with pytest.raises(ValueError, match=r"no test clips of at least 99 s"):
        Dataset(str(sounds), min_seconds=99).clips(training=False)


def test_systems_that_use_few_of_their_codes_are_named_at_the_end(tmp_path, capsys, monkeypatch):
    def use(size, used, tokens=900):
        return {"usage": used / size, "codebook_size": size, "tokens": tokens}

    pieces = {
        "plain": [use(64, 64), use(64, 49)],
        "dead": [use(64, 60), use(64, 7)],
        "few clips": [use(64, 7, tokens=19), use(64, 7, tokens=19)],
    }
    rows = [{"name": name, "usage": {"pieces": uses}} for name, uses in pieces.items()]
    (tmp_path / "results.json").write_text(json.dumps({"systems": rows}))
    systems = dict.fromkeys(pieces, "RVQ(dim, 64, 2)")
    monkeypatch.setattr("vqkit.compare.command.compare", lambda *_: tmp_path)
    monkeypatch.setattr("vqkit.compare.command.write_report", lambda folder: folder / "report.html")
    assert finish(what(tmp_path, systems=systems), tmp_path, "vqkit compare") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("usage: ")]
    assert len(said) == 1
    assert said[0].startswith("usage:   dead: RVQ uses 7 of 64 codes at position 1, and few at 1 of 2 positions: train")


def test_command_line(sounds, tmp_path, capsys):
    flags = ["--data.source", str(sounds), "--seeds", "[3]", "--listen", "1", "--out", str(tmp_path / "out")]
    frames = ["--backbone", "frames", "--backbone.sample_rate", "16000", "--backbone.hop_samples", "48"]
    assert main(["compare", "IVQ(dim)", "small = RVQ(dim, 4, 2)", *frames, *flags]) == 0
    shown = capsys.readouterr().out
    assert "report.html" in shown
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [s["name"] for s in results["systems"]] == ["IVQ(dim)", "small"]
    assert results["budget"]["seeds"] == [3]
    assert results["backbone"]["hop_samples"] == 48
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000
    assert (tmp_path / "out" / "report.md").read_text().count("bits per token") >= 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["compre"], "unknown command 'compre'; known: demo, compare"),
        (["compare", "IVQ(dim"], "not an expression"),
        (["compare", "IVQ(dim)", "--backbone", "film"], "unknown backbone 'film'; known: "),
        (["compare", "IVQ(dim)", "--seeds", "many"], "seeds"),
        (["compare", "IVQ(dim)", "--data.source", "/nowhere"], "/nowhere"),
        (["compare", "IVQ(dim)", "--colour", "red"], "colour"),
        (["compare", "--config", "/nowhere.yaml"], "nowhere.yaml"),
        (["compare"], "systems is empty"),
        (
            ["compare", "a = VQ(dim, 16)", "a = RVQ(dim, 16, 2)"],
            "two rows are named a: VQ(dim, 16) and RVQ(dim, 16, 2); NAME = EXPRESSION names a row",
        ),
        (["compare", "VQ(dim, 16)", "VQ(dim, 16)"], "two rows are named VQ(dim, 16)"),
        (
            ["compare", "large = BSQ(dim, 24)"],
            "large (dim = 120): code_sizes must be in 1..2^20 to be counted code by code, got 16777216",
        ),
    ],
)
def test_bad_command_lines_are_one_line_and_exit_code_2(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("vqkit: ")
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_shipped_samples_and_the_demo_preset_fit():
    clips = Dataset(min_seconds=2.0).clips(training=False)
    assert {clip.group for clip in clips} == {"music", "speech"}
    from vqkit.compare import command

    preset = runner.Path(command.__file__).parent / "presets" / "demo.yaml"
    demo, out = command.parse(["--config", str(preset)])
    rates = command.rates(demo)
    assert str(out) == "runs/demo"
    assert {"IVQ", "RVQ", "PVQ", "VQ", "FSQ", "LFQ", "LooC", "R-FSQ", "R-LFQ"} <= {name.split()[0] for name in rates}


@pytest.mark.parametrize(
    ("pretrain_steps", "last_note"), [(0, ", step 5/"), (3, "pretraining, step 2/"), (3, "seed 1/1, step 5/")]
)
def test_the_codec_backbone_trains_measures_and_goes_on_after_a_kill(sounds, tmp_path, pretrain_steps, last_note):
    from vqkit.compare.backbones.codec import Backbone as Codec

    small = {"sample_rate": 16000, "width": 12, "num_filters": 4, "strides": (4, 8), "num_lstm_layers": 1}
    training = {"steps": 6, "batch_size": 2, "crop_seconds": 0.25, "warmup_steps": 1, "save_every": 2}
    backbone = Codec(**small, **training, pretrain_steps=pretrain_steps)
    asked = what(sounds, backbone=backbone, systems={"IVQ": "IVQ(dim)", "RVQ": "RVQ(dim, 8, 2)"}, seeds=(0,), listen=1)
    whole = json.loads((compare(asked, tmp_path / "whole", "") / "results.json").read_text())
    assert whole["backbone"]["name"] == "codec"
    assert [len(s["loss_curve"]["loss"]) for s in whole["systems"]] == [6, 6]
    assert whole["systems"][0]["kbps"]["mean"] == pytest.approx(24 * 500 / 1000, rel=0.02)

    def killed(name, note, row):
        if last_note in note:
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        compare(asked, tmp_path / "killed", "", killed)
    resumed = json.loads((compare(asked, tmp_path / "killed", "") / "results.json").read_text())
    assert resumed["systems"][0]["loss_curve"] == whole["systems"][0]["loss_curve"]
    assert resumed["systems"][0]["metrics"] == whole["systems"][0]["metrics"]
    assert len(list((tmp_path / "killed" / "runs").glob("start-*"))) == (pretrain_steps > 0)


def test_a_backbone_named_on_the_command_line_keeps_its_own_defaults():
    from vqkit.compare import command
    from vqkit.compare.backbones import codec

    parsed = [command.parse(["IVQ(dim)", *flags])[0].backbone for flags in (["--backbone", "codec"], [])]
    assert parsed == [codec.Backbone(), Backbone()]
    changed, _ = command.parse(["IVQ(dim)", "--backbone.hop_samples", "120"])
    assert changed.backbone == Backbone(hop_samples=120)


def test_names_and_selections_of_rows():
    from vqkit.compare import command

    words = ["LooC 8, d=4 = LooC(dim, 8, 4)", "mine=VQ(dim, 8, revive = 'cvq')", "VQ(dim, num = 3)"]
    what, _ = command.parse(words)
    assert what.systems == {
        "LooC 8, d=4": "LooC(dim, 8, 4)",
        "mine": "VQ(dim, 8, revive = 'cvq')",
        "VQ(dim, num = 3)": "VQ(dim, num = 3)",
    }
    what, _ = command.parse(["mine = VQ(dim, 4)", "--systems", '{"mine": "VQ(dim, 8)", "other": "FSQ(dim, [5])"}'])
    assert what.systems == {"mine": "VQ(dim, 4)", "other": "FSQ(dim, [5])"}
    what, _ = command.parse([*words, "--only", "[mine]", "--repeat_only", '[mine, "LooC 8, d=4"]'])
    assert (list(what.systems), what.repeat_only) == (["mine"], ("mine",))
    with pytest.raises(ValueError, match="only names others; the systems are LooC 8, d=4, mine, VQ"):
        command.parse([*words, "--only", "[others]"])
