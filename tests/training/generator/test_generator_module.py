"""Generators learn token files, in the house's phases: they get better, resume bit for bit, and refuse files that do not fit."""

import pytest
import torch

from vqkit import IVQ
from vqkit.bitstream import VqkHeader, VqkWriter
from vqkit.models import TokenGenerator
from vqkit.models.generator.bridge import HexagramBridge, LatentBridge
from vqkit.models.generator.patterns import Delay
from vqkit.training import GeneratorDataModule, GeneratorModule, Optimisation, train
from vqkit.training.generator.token_streams import TokenCrops, WholeStreams, cut, list_tokens, read_streams
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO

SIZES = (4, 2, 2)  # two stages: one code of four, two of two


class Killed(Exception):
    pass


def write(path, codes, sizes=SIZES, stages=(1, 2), **options):
    header = VqkHeader(code_sizes=sizes, codes_per_stage=stages, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    with VqkWriter(path, header) as writer:
        writer.write(codes)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Streams that count: class "up" forwards, class "down" backwards; and pictures whose first code says where a stream begins."""
    folder = tmp_path_factory.mktemp("tokens")
    random = torch.Generator().manual_seed(0)
    for split, count in (("train", 12), ("valid", 4)):
        for index in range(count):
            label = ("up", "down")[index % 2]
            start, frames = int(torch.randint(4, (), generator=random)), 20 + index
            ramp = (start + torch.arange(frames) * (1 if label == "up" else -1)) % 4
            codes = torch.stack([ramp, ramp % 2, ramp // 2], dim=-1)
            name = f"{split}/{label}/{index}.vqk"
            write(folder / "music" / name, codes, sample_rate=80, hop_samples=10, model="M", model_hash="ab" * 32)
            picture = torch.full((2 * 4, 12), 0)
            picture[4:, 0] = 1
            picture[:, 5] = start % 2
            write(
                folder / "pictures" / name,
                picture,
                (2,) * 6 + (4,) * 3 + (8,) * 2 + (64,),
                (6, 3, 2, 1),
                sample_rate=1,
                hop_samples=1,
                grid=(4,),
            )
    return folder


def module(kill_at=None, **options):
    torch.manual_seed(0)
    generator = TokenGenerator(
        (4, 4), Delay(), width=16, layers=1, heads=2, window=16, classes=["up", "down"], **options
    )

    class Module(GeneratorModule):
        def training_step(self, batch, batch_idx):
            if batch_idx == kill_at:
                raise Killed
            self.seen.append(batch["codes"].clone())
            super().training_step(batch, batch_idx)

    result = Module(generator, optimisation=Optimisation(learning_rate=1e-2, warmup_steps=2))
    result.seen = []
    return result


def run(model, tokens, folder, data=None, **options):
    data = data or GeneratorDataModule(str(tokens / "music"), frames=16, batch_size=4)
    settings = {"steps": 6, "save_every": 3, "validate_every": 3, "log_every": 1, "average_decay": 0.9} | options
    return train(model, data, folder=str(folder), accelerator="cpu", progress=False, **settings)


def test_killed_and_resumed_run_is_bit_equal(tokens, tmp_path):
    whole = module()
    run(whole, tokens, tmp_path / "whole")
    with pytest.raises(Killed):
        run(module(kill_at=5), tokens, tmp_path / "cut")
    resumed = module()
    made = run(resumed, tokens, tmp_path / "cut")
    assert (len(whole.seen), len(resumed.seen)) == (6, 3)
    for one, other in zip(whole.seen[3:], resumed.seen, strict=True):
        assert torch.equal(one, other)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    files = [SafeCheckpointIO().load_checkpoint(tmp_path / part / "last.safetensors") for part in ("whole", "cut")]
    moments = [file["optimizer_states"][0]["state"] for file in files]
    for key, state in moments[0].items():
        assert torch.equal(state["exp_avg_sq"], moments[1][key]["exp_avg_sq"])
    saved = [TokenGenerator.from_pretrained(tmp_path / part / "generator") for part in ("whole", "cut")]
    assert made == tmp_path / "cut" / "generator"
    assert torch.equal(saved[0].generate(20, seed=0), saved[1].generate(20, seed=0))
    assert saved[0].tokens_of == "ab" * 32


def test_a_generator_learns_to_count_by_class(tokens, tmp_path):
    made = run(module(), tokens, tmp_path, steps=150, validate_every=150, average_decay=None)
    generator = TokenGenerator.from_pretrained(made)
    for label, step in (("up", 1), ("down", 3)):
        codes = generator.generate(16, classes=torch.tensor([generator.class_index(label)] * 4), temperature=0.3)
        assert (codes[:, 1:, 0] == (codes[:, :-1, 0] + step) % 4).float().mean() > 0.9, label


@pytest.mark.parametrize("kind", ["hexagrams", "latent"])
def test_conditions_of_pictures_reach_the_frames_of_their_time(tokens, tmp_path, kind):
    torch.manual_seed(0)
    pictures, sound = (IVQ(12, variant=variant, init="uniform") for variant in ("bottom-up", "yin-yang"))
    bridge = HexagramBridge(pictures, sound, 4) if kind == "hexagrams" else LatentBridge(pictures, 4)
    data = GeneratorDataModule(
        str(tokens / "music"), frames=16, batch_size=4, conditions=str(tokens / "pictures"), bridge=bridge
    )
    stream = data.streams("train")[0]
    assert stream.condition.shape == (2, 48)
    assert stream.pictures_per_frame == pytest.approx(1 / 8)
    item = cut(stream, 6, 8, ("up", "down"))  # 8 frames a second: two frames of the first picture, six of the second
    assert torch.equal(item["condition"], stream.condition[[0, 0, 1, 1, 1, 1, 1, 1]])
    assert torch.equal(item["codes"], stream.ids[6:14].long())
    made = run(module(condition_dim=48), tokens, tmp_path, data=data, steps=2, save_every=2, validate_every=2)
    assert TokenGenerator.from_pretrained(made).condition_dim == 48


def test_mismatched_pictures_are_others(tokens):
    bridge = LatentBridge(IVQ(12, variant="bottom-up"), 4)
    options = {"frames": 16, "conditions": str(tokens / "pictures"), "bridge": bridge}
    right = GeneratorDataModule(str(tokens / "music"), **options).streams("train")
    wrong = GeneratorDataModule(str(tokens / "music"), mismatched=True, **options).streams("train")
    assert [stream.name for stream in wrong] == [stream.name for stream in right]
    for place, stream in enumerate(wrong):
        assert torch.equal(stream.condition, right[(place + 1) % len(right)].condition)
    assert any(not torch.equal(one.condition, other.condition) for one, other in zip(wrong, right, strict=True))


def test_crops_depend_on_seed_and_number_only(tokens):
    streams = read_streams(list_tokens(tokens / "music", "train"), True, None, None, None)
    assert streams[0].ids.shape[1] == 2
    one, other = (TokenCrops(streams, 16, 40, ("up", "down"), seed=3) for _ in range(2))
    forwards = [one[i]["codes"] for i in range(40)]
    backwards = [other[i]["codes"] for i in reversed(range(40))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert len({tuple(codes.flatten().tolist()) for codes in forwards}) > 4
    third = TokenCrops(streams, 16, 40, ("up", "down"), seed=4)
    assert any(not torch.equal(forwards[i], third[i]["codes"]) for i in range(40))


def test_windows_hold_every_code_once_over_all_ranks(tokens):
    streams = read_streams(list_tokens(tokens / "music", "valid"), True, None, None, None)
    frames = sum(len(stream.ids) for stream in streams)
    ranks = [WholeStreams(streams, 16, 1000, (), rank, 3) for rank in range(3)]
    assert len({len(windows) for windows in ranks}) == 1
    assert sum(int((item["codes"][:, 0] >= 0).sum()) for windows in ranks for item in windows_of(windows)) == frames


def windows_of(windows):
    return [windows[i] for i in range(len(windows))]


def test_a_flat_folder_is_split_by_the_hash_of_the_name(tmp_path):
    for index in range(40):
        write(tmp_path / f"{index}.vqk", torch.zeros(3, 3, dtype=torch.long))
    with pytest.warns(UserWarning, match="names a split: by the hash"):
        train_files = list_tokens(tmp_path, "train")
    with pytest.warns(UserWarning, match="names a split: by the hash"):
        valid_files = list_tokens(tmp_path, "valid")
    assert len(train_files) + len(valid_files) == 40
    assert 0 < len(valid_files) < 12


def test_errors(tokens, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_tokens(tmp_path / "missing")
    with pytest.raises(ValueError, match="holds no .vqk files"):
        list_tokens(tmp_path)
    with pytest.raises(ValueError, match="of split 'test'; there is 'train', 'valid'"):
        list_tokens(tokens / "music", "test")
    with pytest.raises(ValueError, match="conditions and bridge go together"):
        GeneratorDataModule("x", frames=4, conditions="y")
    with pytest.raises(ValueError, match="the files have 3 ids a frame of sizes .4, 2, 2., the generator .4, 4."):
        run(module(), tokens, tmp_path, data=GeneratorDataModule(str(tokens / "music"), frames=16, packed=False))
    with pytest.raises(ValueError, match="crops of 17 frames do not fit the generator's window of 16"):
        run(module(), tokens, tmp_path, data=GeneratorDataModule(str(tokens / "music"), frames=17))
    with pytest.raises(ValueError, match="condition_dim is 7"):
        run(module(condition_dim=7), tokens, tmp_path)
    write(tmp_path / "other" / "train" / "a.vqk", torch.zeros(9, 3, dtype=torch.long), model_hash="12" * 32)
    write(tmp_path / "other" / "train" / "b.vqk", torch.zeros(9, 3, dtype=torch.long), model_hash="34" * 32)
    with pytest.raises(ValueError, match="codes of different models"):
        GeneratorDataModule(str(tmp_path / "other"), frames=4).streams("train")
    write(tmp_path / "strange" / "train" / "cow" / "a.vqk", torch.zeros(9, 3, dtype=torch.long))
    strange = GeneratorDataModule(str(tmp_path / "strange"), frames=4, valid_split=None)
    with pytest.raises(ValueError, match="has class 'cow', the generator has up, down"):
        run(module(), tokens, tmp_path, data=strange)
