"""Music for a video: as long as the video, the same for the same seed, dependent on its pictures, and errors are one line."""

import json
import shutil

import av
import pytest
import torch
from conftest_video import write_video

from vqkit import IVQ, RVQ
from vqkit.cli import main
from vqkit.data import read_audio, write_audio
from vqkit.generate.music import MusicGenerator
from vqkit.models import ImageTokenizer, SpectralCodec, TokenGenerator, ViTBackbone
from vqkit.models.generator.bridge import HexagramBridge, align
from vqkit.models.identity import weight_hash

SECONDS = 2.6


def make(condition_dim=4 * 24, learned_adapter=False, variant="yin-yang"):
    torch.manual_seed(0)
    pictures = IVQ(12, variant="bottom-up", init="uniform")
    sound = IVQ(24, variant=variant, init="uniform")
    backbone = ViTBackbone(12, image_size=16, patch=8, tokens=4, width=16, depth=1, heads=2)
    tokenizer = ImageTokenizer(backbone, pictures).eval()
    codec = SpectralCodec(
        sound, sample_rate=8000, hop_samples=160, encoder_width=8, decoder_width=8, encoder_blocks=1, decoder_blocks=1
    ).eval()
    codec.initialize(0.3 * torch.randn(2, 1, 8000))
    for part in (pictures, sound):  # codes that differ, and are not silence
        for name, value in part.state_dict().items():
            if name.endswith("weight"):
                value.copy_(torch.randn_like(value))
    generator = TokenGenerator((64,) * 4, width=16, layers=1, heads=2, window=32, condition_dim=condition_dim)
    torch.nn.init.normal_(generator.heads.out.weight)
    generator.tokens_of = weight_hash(codec)
    return MusicGenerator(generator, codec, tokenizer, learned_adapter=learned_adapter)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music-generator")
    make().save(folder)
    return folder


def generate(saved, video, out, *words):
    return main(
        ["generate", "music", "--model", str(saved), "--video", str(video), "--out", str(out), "--quiet", *words]
    )


def test_the_command_writes_a_playable_copy(saved, video, tmp_path, capsys):
    assert generate(saved, video, tmp_path / "a.mp4", "--seed", "3", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["seed"]) == (3, 3)
    assert found["seconds"] == pytest.approx(SECONDS, abs=0.05)
    with av.open(str(tmp_path / "a.mp4")) as file, av.open(str(video)) as source:
        copies, originals = ([bytes(p) for p in f.demux(f.streams.video[0]) if p.size] for f in (file, source))
        assert copies == originals
    heard = read_audio(tmp_path / "a.mp4")
    assert heard.sample_rate == 8000
    assert heard.samples.shape[1] / 8000 == pytest.approx(SECONDS, abs=0.2)
    assert heard.samples.abs().max() > 1e-3
    for name, seed in (("again", "3"), ("other", "4")):
        assert generate(saved, video, tmp_path / f"{name}.mp4", "--seed", seed) == 0
    again, other = (read_audio(tmp_path / f"{name}.mp4").samples for name in ("again", "other"))
    assert torch.equal(again, heard.samples)
    assert not torch.equal(other, heard.samples)


def test_music_depends_on_the_pictures_of_its_time(saved, video, tmp_path):
    makes = MusicGenerator.from_folder(saved)
    seen = makes.look(video)
    assert seen.shape == (3, 96)
    first = makes.compose(seen, SECONDS, seed=1)
    assert first.shape == (130, 24)  # 50 frames a second, four stages of six codes: windows of 32 frames
    changed = seen.clone()
    changed[2] += 3
    other = makes.compose(changed, SECONDS, seed=1)
    assert torch.equal(other[:90], first[:90])
    assert not torch.equal(other[100:], first[100:])
    sound = torch.cat(list(makes.sound(first)), dim=1)
    torch.testing.assert_close(sound, makes.codec.decode(first.T[None])[0], atol=1e-4, rtol=1e-3)


def test_conditions_are_the_hexagrams_of_pictures_in_the_codebooks_of_music(video):
    makes = make(variant="bottom-up")
    pictures = torch.rand(2, 3, 16, 16)
    codes = makes.tokenizer.encode(pictures).transpose(1, 2)
    stages = makes.tokenizer.quantizer.hexagrams(codes)
    expected = makes.codec.quantizer.decode(makes.codec.quantizer.from_hexagrams(stages)).flatten(1)
    assert torch.equal(makes.bridge(codes), expected)
    scrambled = HexagramBridge(makes.tokenizer.quantizer, makes.codec.quantizer, 4, scramble=1)
    assert scrambled(codes).shape == expected.shape
    assert not torch.equal(scrambled(codes), expected)
    adapter = make(condition_dim=48, learned_adapter=True)
    assert torch.equal(adapter.bridge(codes), adapter.tokenizer.quantizer.decode(codes).flatten(1))


def test_alignment_is_by_time():
    vectors = torch.tensor([[0.0], [1.0], [2.0]])
    place = align(vectors, 200, 1 / 50)[:, 0]
    assert [int((place == k).sum()) for k in range(3)] == [50, 50, 100]  # the last picture stays
    assert torch.equal(align(vectors, 60, 1 / 50, first_frame=40), align(vectors, 100, 1 / 50)[40:])


def test_saving_keeps_the_kind_of_bridge(tmp_path, video):
    makes = make(condition_dim=48, learned_adapter=True)
    makes.save(tmp_path)
    again = MusicGenerator.from_folder(tmp_path)
    assert again.learned_adapter
    assert torch.equal(again.compose(again.look(video), 1.0, seed=2), makes.compose(makes.look(video), 1.0, seed=2))


def test_errors_are_one_line(saved, video, tmp_path, capsys):
    def refused(*arguments):
        assert generate(*arguments) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        return printed

    out = tmp_path / "a.mp4"
    assert "no such file: nowhere.mp4" in refused(saved, "nowhere.mp4", out)
    write_audio(tmp_path / "sound.ogg", torch.zeros(1, 8000), 8000)
    assert "has no moving picture that can be decoded" in refused(saved, tmp_path / "sound.ogg", out)
    (tmp_path / "text.mp4").write_text("hello")
    assert "is not a video that PyAV can read" in refused(saved, tmp_path / "text.mp4", out)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 3])
    assert "cut.mp4" in refused(saved, cut, out)
    assert "the suffix is '.avi'" in refused(saved, video, tmp_path / "a.avi")
    assert f"no such folder: {tmp_path / 'none'}" in refused(saved, video, tmp_path / "none" / "a.mp4")
    assert "is no music generator: music.json is missing" in refused(tmp_path, video, out)
    assert "temperature must be" in refused(saved, video, out, "--temperature", "-1")
    assert "device 'nowhere' cannot be used" in refused(saved, video, out, "--device", "nowhere")
    own = tmp_path / "own.mp4"
    own.write_bytes(video.read_bytes())
    assert "own.mp4 is the source itself, which would be lost" in refused(saved, own, own, "-f")
    assert own.read_bytes() == video.read_bytes()
    assert f"--video {tmp_path} is no file" in refused(saved, tmp_path, out)
    (tmp_path / "music.json").write_text("{")
    assert "music.json is not JSON" in refused(tmp_path, video, out)
    assert not out.exists()
    out.write_bytes(b"mine")
    assert "a.mp4 exists already; -f overwrites it" in refused(saved, video, out)
    assert out.read_bytes() == b"mine"
    assert generate(saved, video, out, "-f") == 0


def test_models_that_do_not_fit_together(saved, tmp_path):
    makes = make()
    other = make(variant="bottom-up").codec
    with pytest.raises(ValueError, match="learned codes of other weights .* of the codec .* do not fit together"):
        MusicGenerator(makes.generator, other, makes.tokenizer)
    makes.generator.tokens_of = ""
    with pytest.raises(ValueError, match="takes conditions of 96 numbers, a picture gives 48"):
        MusicGenerator(makes.generator, makes.codec, makes.tokenizer, learned_adapter=True)
    plain = SpectralCodec(RVQ(24, 64, 4), sample_rate=8000, hop_samples=160, encoder_width=8, decoder_width=8)
    with pytest.raises(TypeError, match="sound must have an IVQ, whose hexagrams both share; got RVQ"):
        MusicGenerator(makes.generator, plain, makes.tokenizer)
    with pytest.raises(
        ValueError, match="the hexagrams of pictures have .lines, stages. .6, 4., those of sound .6, 2."
    ):
        HexagramBridge(makes.tokenizer.quantizer, IVQ(24, pieces=(6, 1)), 4)
    shutil.copytree(saved, tmp_path / "broken")
    (tmp_path / "broken" / "music.json").write_text("{}")
    with pytest.raises(ValueError, match="must be ..learned_adapter"):
        MusicGenerator.from_folder(tmp_path / "broken")


def test_a_video_without_sound_gets_one(saved, tmp_path):
    silent = write_video(tmp_path / "silent.mp4", seconds=1.2, sound=False)
    assert generate(saved, silent, tmp_path / "a.mkv") == 0
    assert read_audio(tmp_path / "a.mkv").samples.abs().max() > 1e-3
