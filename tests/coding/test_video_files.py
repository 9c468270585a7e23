"""Films to ``.vqk`` files and back, by the commands."""

import io
import json

import numpy as np
import pytest
import torch

from vqkit.bitstream import VqkReader
from vqkit.cli import main
from vqkit.data.video import read_video
from vqkit.data.video.writer import video_bytes

av = pytest.importorskip("av")


@pytest.fixture
def run(video_model, capsys):
    def call(*words, code=0, model=True):
        given = ["--model", str(video_model)] if model else []
        assert main([*map(str, words), *given]) == code
        return capsys.readouterr()

    return call


def test_there_and_back_equals_the_tokenizer(run, film, video_tokenizer, tmp_path):
    source = film(tmp_path / "a.mp4")
    record = json.loads(run("encode", source, "--as", "video", "--json").out)
    assert {k: record[k] for k in ("height", "width", "frames", "frame_rate")} == {
        "height": 20, "width": 30, "frames": 7, "frame_rate": 12.5}  # fmt: skip
    assert record["bytes"] == (tmp_path / "a.vqk").stat().st_size
    assert record["seconds"] == pytest.approx(7 / 12.5)
    read = read_video(source)
    wanted, rate = video_tokenizer.decompress(video_tokenizer.compress(read.frames, read.rate))
    assert rate == 12.5
    of_file, _ = video_tokenizer.decompress((tmp_path / "a.vqk").read_bytes())
    torch.testing.assert_close(of_file, wanted, rtol=0, atol=1e-4)
    run("decode", tmp_path / "a.vqk", tmp_path / "b.mp4")
    back = read_video(tmp_path / "b.mp4")
    assert (back.rate, back.frames.shape) == (12.5, (3, 7, 20, 30))
    expected = io.BytesIO(video_bytes(wanted, rate))
    (tmp_path / "wanted.mp4").write_bytes(expected.getvalue())
    # noise of 1e-4 is 0.006 apart after H.264, the frames of another moment are 0.18
    apart = (back.frames - read_video(tmp_path / "wanted.mp4").frames).abs()
    assert apart.mean() < 0.02, apart.mean()


def test_rates_limit_stages_and_bytes(run, film, video_tokenizer, tmp_path):
    source, target = film(tmp_path / "a.mp4"), tmp_path / "a.vqk"
    full = 3 * 5 * 5 * 8 * 12.5 / 2 / 1000  # bits of a tubelet, tubelets of a picture, pictures a second
    for words, stages in ((["--stages", 2], 2), (["--kbps", 0.7 * full], 2), (["--kbps", full], 3)):
        run("encode", source, target, "--as", "video", "-f", *words)
        with VqkReader(target) as reader:
            assert reader.header.num_stages == stages, words
    size = target.stat().st_size
    run("encode", source, target, "--as", "video", "-f", "--max-bytes", size - 1)
    assert target.stat().st_size < size
    err = run("encode", source, target, "--as", "video", "-f", "--kbps", 0.1 * full, code=2).err
    assert "kbps" in err
    assert err.count("\n") == 1
    assert "rate 5 of" not in run("encode", source, target, "--as", "video", "-f", "--rate-weight", 0.0).err


def test_what_is_left_out_is_named(run, tmp_path):
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as file:
        picture, sound = file.add_stream("mpeg4", rate=5), file.add_stream("pcm_s16le", rate=8000)
        picture.width, picture.height, picture.pix_fmt = 32, 18, "yuv420p"
        for _ in range(5):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((18, 32, 3), np.uint8))))
        file.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    assert "sound left out" in run("encode", source, "--as", "video").out
    err = run("encode", source, "--as", "video", "-f", "--max-megapixels", 0.002, code=2).err
    assert "allowed are 0.002 megapixels in all" in err
    err = run("encode", source, "--as", "video", "-f", code=2, model=False).err
    assert err == "vqkit: no tokenizer of video ships with vqkit: name the folder of one with --model\n"
    err = run("encode", source, "--as", "video", "-f", "--bpp", 1, code=2).err
    assert f"--bpp is for images, and {source} is not: give --kbps, --stages or --max-bytes" in err


def test_an_odd_side_loses_its_last_row(run, video_tokenizer, tmp_path):
    (tmp_path / "a.vqk").write_bytes(video_tokenizer.compress(torch.rand(3, 2, 9, 12), 8.0))
    assert "H.264 has even sides" in run("decode", tmp_path / "a.vqk").out
    assert read_video(tmp_path / "a.mp4").frames.shape == (3, 2, 8, 12)


def test_lost_cells_are_gray_and_named(run, film, tmp_path):
    run("encode", film(tmp_path / "a.mp4"), "--as", "video")
    whole = (tmp_path / "a.vqk").read_bytes()
    (tmp_path / "a.vqk").write_bytes(whole[: len(whole) * 2 // 3])
    err = run("decode", tmp_path / "a.vqk", tmp_path / "b.mp4", code=1).err
    assert "the others are gray" in err
    last = read_video(tmp_path / "b.mp4").frames[:, -1]
    assert (last - 0.5).abs().max() < 0.03


def test_folders_and_formats(run, film, sound, model, video_model, tmp_path):
    film(tmp_path / "in/a.mp4")
    sound(tmp_path / "in/b.wav", seconds=0.1)
    shown = run("encode", tmp_path / "in", tmp_path / "out", "--as", "video")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.vqk"]
    assert "b.wav is passed over: it is sound, and --as says video" in shown.err
    run("decode", tmp_path / "out", tmp_path / "back", "--to", "mp4")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["a.mp4"]
    err = run("decode", tmp_path / "out/a.vqk", tmp_path / "a.wav", code=2).err
    assert f"{tmp_path / 'out/a.vqk'} holds video, and {tmp_path / 'a.wav'} would be sound" in err
    err = run("decode", tmp_path / "out/a.vqk", "--to", "png", code=2).err
    assert f"--to png is for images, and {tmp_path / 'out/a.vqk'} holds video" in err
