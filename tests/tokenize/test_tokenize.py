"""Corpora of every form to token files, with models; the codes are those of the models themselves."""

import io
import json
import os
import signal
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hashing import DyingEncoder, HashEncoder, in_process, run
from PIL import Image

import vqkit.tokenize.run
from vqkit import RVQ
from vqkit.bitstream import VqkReader
from vqkit.cli import main
from vqkit.data import read_audio, read_image, sample_folder
from vqkit.data.video import read_video
from vqkit.models import AudioCodec, ConvBackbone, ImageTokenizer, VideoTokenizer, load_codec
from vqkit.tokenize import (
    ModelEncoder,
    TokenDataset,
    TokenizeColumn,
    TokenizeSettings,
    TokenLoader,
    read_manifest,
    tokenize,
    verify_tokens,
)
from vqkit.tokenize.corpus import Corpus

RATE = 8000


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.manual_seed(0)
    codec = AudioCodec(RVQ(8, 16, 3), sample_rate=RATE, num_filters=2, strides=(4, 5), num_lstm_layers=1).eval()
    codec.initialize(0.1 * torch.randn(1, 1, RATE))
    codec.quantizer.fit(codec.analyze(0.1 * torch.randn(1, 1, 4 * RATE)))
    tokenizer = ImageTokenizer(ConvBackbone(dim=8, width=4, residual_width=2, residual_blocks=1), RVQ(8, 16, 2)).eval()
    tokenizer.initialize(torch.rand(1, 3, 64, 64))
    tokenizer.quantizer.fit(tokenizer.analyze(torch.rand(2, 3, 64, 64)))
    folder = tmp_path_factory.mktemp("models")
    codec.save_pretrained(folder / "sound")
    tokenizer.save_pretrained(folder / "images")
    return [str(folder / "sound"), str(folder / "images")]


def wav(seed, seconds=0.5, rate=RATE):
    file = io.BytesIO()
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate)) * 0.1
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def png(seed, size=(24, 31)):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def write_corpus(folder):
    for name, data in {
        "a/0.wav": wav(0),
        "a/1.wav": wav(1, 0.3, 16000),
        "b/2.png": png(2),
        "b/without_suffix": wav(3),
        "cut.wav": b"RIFF1234",
        "notes.txt": b"text",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def rows_of(target):
    import pyarrow.parquet

    return [
        row
        for path in sorted((target / "shards").glob("*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


def test_a_folder(models, tmp_path, capsys):
    write_corpus(tmp_path / "corpus")
    options = ["--model", models[0], "--model", models[1], "--vqk", "--format", "both", "--items-per-shard", "2"]
    command = ["tokenize", str(tmp_path / "corpus"), str(tmp_path / "out"), *options, "-j", "1", "--verify", "--json"]
    assert main(command) == 1  # one file is cut off
    said = capsys.readouterr()
    assert "5 items in 3 shards; 1 file without sound, images or video left out" in said.err
    totals = json.loads(said.out)
    assert (totals["items"], totals["failed"], totals["shards"], totals["verified_files"]) == (4, 1, 3, 7)
    assert totals["seconds"] == pytest.approx(0.5 + 0.3 + 0.5)
    (failure,) = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert json.loads(failure)["key"] == "cut.wav"
    rows = {row["key"]: row for row in rows_of(tmp_path / "out")}
    assert list(rows) == ["a/0.wav", "a/1.wav", "b/2.png", "b/without_suffix"]

    codec, tokenizer = load_codec(models[0]), ImageTokenizer.from_pretrained(models[1])
    sound = codec.encode(read_audio(tmp_path / "corpus/a/0.wav").samples[None])[0].T
    picture = tokenizer.encode(read_image(tmp_path / "corpus/b/2.png")[None])[0].movedim(0, -1)
    for name, expected in {"a/0.wav": sound, "b/2.png": picture}.items():
        assert rows[name]["shape"] == list(expected.shape)
        assert rows[name]["codes"] == expected.flatten().tolist()
        header = VqkReader(io.BytesIO(rows[name]["vqk"])).header
        assert header.model_hash
    assert rows["b/2.png"]["size"] == [24, 31]
    assert rows["a/1.wav"]["size"] == [2400]  # samples at the codec's rate

    # the same in webdataset's form
    with tarfile.open(tmp_path / "out/shards/00000000.tar") as tar:
        assert tar.getnames()[:3] == ["000000.npy", "000000.json", "000000.vqk"]
        assert np.array_equal(np.load(io.BytesIO(tar.extractfile("000000.npy").read())), sound.numpy())
        assert json.loads(tar.extractfile("000000.json").read())["key"] == "a/0.wav"

    # of two kinds, each is a data set of its own
    for kind, keys in {"sound": ["a/0.wav", "a/1.wav", "b/without_suffix"], "images": ["b/2.png"]}.items():
        dataset = TokenDataset(tmp_path / "out", kind=kind)
        assert [item.key for item in dataset] == keys
        assert all(item.codes.flatten().tolist() == rows[item.key]["codes"] for item in dataset)
        assert sorted(key for batch in TokenLoader(dataset, batch_size=1) for key in batch.keys) == keys
    with pytest.raises(ValueError, match="equally many codes.*kind='sound'"):
        list(TokenLoader(TokenDataset(tmp_path / "out"), batch_size=4))
    with pytest.raises(ValueError, match="kind must be one of images, sound, which .* holds, got 'video'"):
        TokenDataset(tmp_path / "out", kind="video")

    manifest = read_manifest(tmp_path / "out")
    assert manifest["models"]["sound"]["weight_hash"] == header_hash(models[0])
    assert manifest["codes"] == "int16"
    assert manifest["settings"]["vqk"] is True

    # once more: nothing is left to do, and nothing changes
    before = (tmp_path / "out/manifest.json").read_bytes()
    assert main(command) == 1
    assert (tmp_path / "out/manifest.json").read_bytes() == before
    capsys.readouterr()
    assert main([*command, "--stages", "1"]) == 2
    assert "holds a run with models.sound.stages = 3, not 1; choose another folder" in capsys.readouterr().err


def test_a_batch_has_the_codes_of_its_files(models, tmp_path):
    """In the order of the corpus, with the same failures; the bits of a batch depend on nothing but the corpus and the settings."""
    write_corpus(tmp_path / "corpus")
    for number, seconds in enumerate((2.2, 1.1, 0.4, 1.0)):
        (tmp_path / f"corpus/a/{number + 2}.wav").write_bytes(wav(number, seconds))
        (tmp_path / f"corpus/b/{number + 3}.png").write_bytes(png(number))
    rows, failures = {}, {}
    for name, batch in (("one", 1), ("three", 3), ("again", 3)):
        encoder = ModelEncoder(("images", "sound"), tuple(models), batch=batch, keep_vqk=True)
        totals = tokenize(tmp_path / "corpus", tmp_path / name, lambda kinds, e=encoder: e, runner=in_process)
        assert (totals["items"], totals["failed"]) == (12, 1)
        rows[name], failures[name] = rows_of(tmp_path / name), (tmp_path / name / "failures.jsonl").read_text()
        assert read_manifest(tmp_path / name)["settings"].get("batch", 1) == batch
    assert failures["one"] == failures["three"]
    assert rows["three"] == rows["again"]
    assert (tmp_path / "three/manifest.json").read_bytes() == (tmp_path / "again/manifest.json").read_bytes()
    for one, other in zip(rows["one"], rows["three"], strict=True):
        for field in ("key", "kind", "shape", "seconds", "size", "notes"):
            assert one[field] == other[field]
        assert np.mean(np.array(one["codes"]) == np.array(other["codes"])) > 0.998
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        ModelEncoder(batch=0)
    with pytest.raises(ValueError, match="device 'nowhere' cannot be used .* there is cpu"):
        ModelEncoder(models=(models[0],), device="nowhere").load()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_codes_are_those_of_the_cpu_but_for_rounding(models, tmp_path):
    write_corpus(tmp_path / "corpus")
    rows = {}
    for device in ("cpu", "cuda"):
        encoder = ModelEncoder(("images", "sound"), tuple(models), batch=3, device=device)
        tokenize(tmp_path / "corpus", tmp_path / device, lambda kinds, e=encoder: e, runner=in_process)
        rows[device] = rows_of(tmp_path / device)
    for one, other in zip(rows["cpu"], rows["cuda"], strict=True):
        assert one["key"] == other["key"]
        assert np.mean(np.array(one["codes"]) == np.array(other["codes"])) > 0.99


def header_hash(folder):
    from vqkit.models.identity import weight_hash

    return weight_hash(load_codec(folder))


def test_tars_tables_and_lists_hold_the_same(models, tmp_path):
    """Every form gives the codes of the files."""
    import datasets
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    sounds = [wav(seed, 0.2) for seed in range(5)]
    for kind in ("files", "tars", "tables", "scp"):
        (tmp_path / kind).mkdir()
    with tarfile.open(tmp_path / "tars/0.tar", "w") as tar:
        for number, data in enumerate(sounds):
            (tmp_path / f"files/{number}.wav").write_bytes(data)
            for suffix, text in (("json", b"{}"), ("wav", data), ("flac", b"not taken: the sample has its sound")):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
    table = arrow.table({"audio": [{"bytes": data, "path": None} for data in sounds]})
    parquet.write_table(table, tmp_path / "tables/0.parquet", row_group_size=3)
    saved = datasets.Dataset.from_dict(
        {"audio": [{"bytes": data, "path": None} for data in sounds], "id": list(range(5))}
    )
    saved.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(tmp_path / "saved")
    ark, lines = b"", []
    for number, data in enumerate(sounds):
        ark += f"u{number} ".encode()
        lines.append(f"u{number} data.ark:{len(ark)}" if number else f"u0 {tmp_path}/files/0.wav")
        ark += data
    (tmp_path / "scp/data.ark").write_bytes(ark)
    (tmp_path / "scp/wav.scp").write_text("\n".join(lines) + "\n")
    found = {}
    for kind in ("files", "tars", "tables", "saved", "scp/wav.scp"):
        out = tmp_path / "out" / kind
        encoder = ModelEncoder(("sound",), (models[0],))
        # in this process: what workers do is tested elsewhere
        totals = tokenize(
            tmp_path / kind, out, lambda kinds, e=encoder: e, TokenizeSettings(items_per_shard=2), runner=in_process
        )
        assert (totals["items"], totals["failed"]) == (5, 0), kind
        assert totals["shards"] == {"tables": 3}.get(kind, 3)
        found[kind] = [row["codes"] for row in rows_of(out)]
        assert len({row["key"] for row in rows_of(out)}) == 5
    assert all(codes == found["files"] for codes in found.values())
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out/files/shards/*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert loaded[0]["codes"] == found["files"][0]
    assert str(loaded.features["codes"].feature.dtype) == "int16"


def test_video_needs_a_tokenizer_and_its_sound_does_not(models, tmp_path, capsys):
    import av

    path = tmp_path / "corpus/film.mkv"
    path.parent.mkdir()
    with av.open(str(path), "w") as film:
        picture, sound = film.add_stream("mpeg4", rate=5), film.add_stream("pcm_s16le", rate=RATE)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        for stream, frame in (
            (picture, av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")),
            (sound, av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")),
        ):
            if stream is sound:
                frame.sample_rate = RATE
            film.mux(stream.encode(frame))
            film.mux(stream.encode(None))
    work = {name: ModelEncoder(("video",), (models[0],), video_sound=name) for name in (False, True)}
    totals = tokenize(tmp_path / "corpus", tmp_path / "no", lambda kinds: work[False], runner=in_process)
    assert (totals["items"], totals["failed"]) == (0, 1)
    assert "it is video: --model FOLDER names a tokenizer of video" in (tmp_path / "no/failures.jsonl").read_text()
    totals = tokenize(tmp_path / "corpus", tmp_path / "yes", lambda kinds: work[True], runner=in_process)
    assert (totals["items"], totals["failed"]) == (1, 0)
    tokenizer = VideoTokenizer(RVQ(8, 16, 2), width=8, residual_width=4, residual_blocks=1).eval()
    tokenizer.save_pretrained(tmp_path / "model")
    totals = tokenize(
        tmp_path / "corpus",
        tmp_path / "pictures",
        lambda kinds: ModelEncoder(kinds, (str(tmp_path / "model"),), batch=2),
        runner=in_process,
    )
    assert (totals["items"], totals["failed"]) == (1, 0)
    command = [
        "tokenize",
        str(tmp_path / "corpus"),
        str(tmp_path / "said"),
        "--model",
        str(tmp_path / "model"),
        "-j",
        "1",
    ]
    assert main(command) == 0
    assert "said: 1 item, 0.00 h of video, 128 codes" in capsys.readouterr().out
    assert main([*command[:2], str(tmp_path / "heard"), "--model", models[0], "--video-sound", "-j", "1"]) == 0
    assert "heard: 1 item, 0.00 h of sound" in capsys.readouterr().out
    (row,) = rows_of(tmp_path / "pictures")
    assert (row["kind"], row["shape"], row["size"]) == ("video", [1, 8, 8, 2], [32, 32])
    wanted = tokenizer.encode(read_video(path).frames[None])[0].movedim(0, -1)
    assert row["codes"] == wanted.flatten().tolist()


def test_several_processes_make_what_one_makes(corpus, tmp_path, content_of):
    folder = corpus(13)
    run(folder, tmp_path / "one", processes=1)
    run(folder, tmp_path / "two", processes=2)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_what_is_wrong_is_said(corpus, tmp_path, capsys):
    folder = corpus(3)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        run(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no sound and no images"):
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ValueError, match="formats must be some of parquet, webdataset"):
        TokenizeSettings(("zip",))
    with pytest.raises(FileNotFoundError, match="it is no finished run"):
        verify_tokens(tmp_path / "empty")
    run(folder, tmp_path / "out")
    path = tmp_path / "out/shards/00000000.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"00000000.parquet has other bytes than the manifest says"):
        verify_tokens(tmp_path / "out")
    with vqkit.tokenize.run._alone(tmp_path / "out/.vqkit"), pytest.raises(ValueError, match="by another process"):
        run(folder, tmp_path / "out")
    assert main(["tokenize", str(folder), str(tmp_path / "new"), "-j", "-1"]) == 2
    (tmp_path / "lines.scp").write_text("utt1 sox a.wav |\nutt2 b.ark:7\n")
    items = list(Corpus(tmp_path / "lines.scp").items(next(Corpus(tmp_path / "lines.scp").units(9))))
    assert [item.fault[:40] for item in items] == [
        "it is a command, which is not run: write",
        "b.ark:7: [Errno 2] No such file or direc",
    ]


def test_paths_that_lead_out_of_a_table_are_not_read(tmp_path):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "tables").mkdir()
    parquet.write_table(
        arrow.table({"path": ["../secret.wav", "/etc/passwd", "in.wav", None]}), tmp_path / "tables/a.parquet"
    )
    (tmp_path / "tables/in.wav").write_bytes(b"inside")
    corpus = Corpus(tmp_path / "tables")
    units = [unit for unit in corpus.units(9) if unit["source"] == "parquet"]
    faults = [item.fault for item in corpus.items(units[0])]
    assert ["lies outside" in fault for fault in faults] == [True, True, False, False]
    assert faults[2] == ""
    assert "neither the bytes" in faults[3]


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """Planning holds one unit, and what is done keeps nothing but counts."""
    import tracemalloc

    def peak(count):
        folder = tmp_path / f"many{count}"
        folder.mkdir()
        lines = "".join(f"utterance{number:07d} nothing/{number}.wav\n" for number in range(count))
        (folder / "wav.scp").write_text(lines)

        def counted(units, work):
            for unit in units:
                record = {"unit": unit["unit"], "items": 0, "codes": 0, "seconds": 0.0, "files": [], "failures": []}
                yield record

        tracemalloc.start()
        with pytest.raises(ValueError, match="is not done"):  # nothing was written
            tokenize(folder / "wav.scp", folder / "out", lambda kinds: HashEncoder(), runner=counted)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(2000), peak(40000)
    assert many < few + 300_000


def test_memory_does_not_grow_with_what_is_done(corpus, tmp_path):
    """Items are read, encoded and written shard by shard, and the manifest is joined from records."""
    import tracemalloc

    def peak(count):
        folder = corpus(count)
        tracemalloc.start()
        settings = TokenizeSettings(items_per_shard=8)
        totals = tokenize(folder, tmp_path / f"out{count}", lambda kinds: HashEncoder(), settings, runner=in_process)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert totals["items"] == count
        return found

    peak(8)  # what is imported and cached on the way
    few, many = peak(40), peak(400)
    assert many < few + 100_000


def test_a_cluster_of_two_nodes_where_a_worker_dies(corpus, tmp_path, content_of, monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from vqkit.tokenize.ray_run import RayRunner

    folder, mark = corpus(12), tmp_path / "died"
    run(folder, tmp_path / "here")
    here = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", here)  # the nodes' processes find the encoder of these tests
    asked_to_end = signal.getsignal(signal.SIGTERM)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    signal.signal(
        signal.SIGTERM, asked_to_end
    )  # nodes of this process would exit at the first SIGTERM and hear no other
    settings = TokenizeSettings(("parquet", "webdataset"), 4)
    encoder = DyingEncoder(name="0007.wav", mark=str(mark))
    try:
        tokenize(folder, tmp_path / "there", lambda kinds: encoder, settings, runner=RayRunner(cluster.address, 2))
        assert signal.getsignal(signal.SIGTERM) is asked_to_end  # so does ray.init
        sounds = [str(path) for path in sorted((sample_folder() / "speech/prompts/test").glob("*.*"))[:2]]
        column = {"fn_constructor_args": ("audio",), "fn_constructor_kwargs": {"stages": 1}, "concurrency": 1}
        rows = ray.data.from_items([{"audio": path} for path in sounds])
        found = rows.map_batches(TokenizeColumn, batch_format="numpy", **column).take_all()
        # a thread of Ray's statistics that writes to the log while Ray shuts down ends this process
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("data-usage")]
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert mark.exists()
    assert content_of(tmp_path / "here") == content_of(tmp_path / "there")
    expected = TokenizeColumn("audio", stages=1)({"audio": sounds})["codes"]
    assert [list(row["codes"]) for row in found] == [codes.tolist() for codes in expected]


def test_token_files_do_not_get_into_a_corpus(corpus, tmp_path, capsys):
    folder = corpus(3)
    for inside in (folder / "tokens", folder / "0", folder):
        with pytest.raises(ValueError, match="lies inside of the corpus .*: choose a folder outside of it"):
            run(folder, inside, runner=in_process)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ValueError, match="lies inside of the corpus"):
        run(folder, tmp_path / "link/tokens", runner=in_process)
    (tmp_path / "others/deep").mkdir(parents=True)
    (tmp_path / "others/deep/a.flac").write_bytes(b"sound")
    assert main(["tokenize", str(folder), str(tmp_path / "others"), "-j", "1"]) == 2
    assert "others holds recordings (a.flac): choose a new folder" in capsys.readouterr().err
    assert not (tmp_path / "others/.vqkit").exists()
    assert not (folder / "tokens").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("what this is")
    assert run(folder, tmp_path / "out", runner=in_process)["items"] == 3


def test_a_bad_tar_or_table_is_one_failure(corpus, tmp_path, capsys):
    """The rest is done: files beside it, and the members before a cut."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    folder, sounds = corpus(2), [np.random.default_rng(i).bytes(3000) for i in range(3)]
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for number, data in enumerate(sounds):
            member = tarfile.TarInfo(f"{number}.wav")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (folder / "cut.tar").write_bytes(whole.getvalue()[: 2 * 3584 + 700])  # in the third member
    for name in ("junk.tar", "junk.tgz", "junk.tar.xz", "junk.parquet"):
        (folder / name).write_bytes(b"junk")
    parquet.write_table(arrow.table({"key": ["a"], "codes": [[1, 2]]}), folder / "tokens.parquet")
    rows = [{"bytes": np.random.default_rng(i).bytes(3000), "path": None} for i in range(40)]
    parquet.write_table(arrow.table({"audio": rows}), folder / "pages.parquet", row_group_size=20, compression="gzip")
    data = bytearray((folder / "pages.parquet").read_bytes())
    data[80_000:90_000] = bytes(10_000)  # of the second group: the end of the file, which says where all is, stays
    (folder / "pages.parquet").write_bytes(data)

    totals = run(folder, tmp_path / "out", items_per_shard=8, runner=in_process)
    lines = map(json.loads, (tmp_path / "out/failures.jsonl").read_text().splitlines())
    failures = {line["key"]: line["reason"] for line in lines}
    assert failures["cut.tar/2.wav"] == "unexpected end of data"
    assert failures["cut.tar"] == "no tar file that can be read to its end: unexpected end of data"
    assert all(f"junk.{end}" in failures for end in ("tar", "tgz", "tar.xz", "parquet"))
    assert "no Parquet file that can be read" in failures["junk.parquet"]
    assert failures["tokens.parquet"].startswith("a Parquet file without sound or images: it has none of the columns")
    lost = [key for key in failures if key.startswith("pages.parquet/")]
    assert lost
    assert lost[0] >= "pages.parquet/00000020"
    assert totals["failed"] == len(failures) == 7 + len(lost)
    keys = {row["key"] for row in rows_of(tmp_path / "out")}
    assert {"0/0000.wav", "1/0001.wav", "cut.tar/0.wav", "cut.tar/1.wav"} <= keys
    assert len(keys) == 4 + 40 - len(lost)

    # alone, such a file is an error
    for name in ("junk.tar", "junk.parquet", "tokens.parquet"):
        with pytest.raises(ValueError, match=f"^{name} is (no|a) "):
            run(folder / name, tmp_path / "one", runner=in_process)
    (tmp_path / "only").mkdir()
    (folder / "junk.tar").rename(tmp_path / "only/junk.tar")
    with pytest.raises(ValueError, match=r"only holds nothing to tokenize: junk.tar is no tar file"):
        run(tmp_path / "only", tmp_path / "one", runner=in_process)
    with pytest.raises(ValueError, match=r"without sound or images: it has no column 'wrong'; it has key, codes"):
        tokenize(
            folder / "tokens.parquet",
            tmp_path / "one",
            lambda kinds: HashEncoder(),
            TokenizeSettings(column="wrong"),
            runner=in_process,
        )


def test_a_finished_run_says_that_the_corpus_has_changed(models, tmp_path, capsys):
    write_corpus(tmp_path / "corpus")
    command = ["tokenize", str(tmp_path / "corpus"), str(tmp_path / "out"), "-j", "1"]
    command += [word for model in models for word in ("--model", model)]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "5 items in 1 shard; 1 file without sound, images or video left out; processes start" in said.err
    assert "vqkit: 1 item has no codes" in said.err
    assert "out: 4 items, 0.00 h of sound, " in said.out
    assert main(command) == 1
    assert "complete already: 5 items in 1 shard\n" in capsys.readouterr().err
    (tmp_path / "corpus/a/new.wav").write_bytes(wav(9))
    before = (tmp_path / "out/manifest.json").read_bytes()
    assert main(command) == 1
    change = "corpus has other files now (6 items, 5 when this was begun), which are not in it: choose another folder for them"
    assert change in capsys.readouterr().err
    assert (tmp_path / "out/manifest.json").read_bytes() == before
    for path in (tmp_path / "corpus").rglob("*.*"):
        path.unlink()
    (tmp_path / "corpus/b/without_suffix").unlink()
    assert main(command) == 1
    assert "corpus has other files now (0 items, 5 when" in capsys.readouterr().err


def test_a_run_that_does_not_begin_leaves_nothing(models, corpus, tmp_path):
    folder = corpus(2)
    for words in ([str(tmp_path / "nope")], [str(folder), "--kbps", "-1"], [str(folder), "--model", "nope"]):
        assert main(["tokenize", words[0], str(tmp_path / "new/out"), *words[1:], "-j", "1", "-q"]) == 2
        assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("mine")
    assert main(["tokenize", str(tmp_path / "nope"), str(tmp_path / "mine"), "-q"]) == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["README.md"]
