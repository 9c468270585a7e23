import warnings
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from vqkit.data import AudioCrops, Clip, list_clips, read_audio, sample_folder, write_audio

RATE = 8000


def ramps(folder, *seconds):
    """One clip a duration; sample n of clip i is about (i + n / 2^15) / 10, so that a crop tells where it is from."""
    clips = []
    for i, duration in enumerate(seconds):
        samples = torch.arange(round(duration * RATE))[None] / 2**15 / 10 + i / 10
        path = folder / f"{i}.flac"
        write_audio(path, samples, RATE, bits=24)
        clips.append(Clip(path, path.name, "train", "", duration, RATE))
    return clips


def origin(crop):
    """(clip, first sample) of a crop of `ramps`."""
    value = crop[0, 0].item() * 10
    return int(value + 1e-6), round((value % 1) * 2**15) if value % 1 < 1 - 1e-6 else 0


def test_crops_are_parts_of_their_clips(tmp_path):
    clips = ramps(tmp_path, 1.0, 3.0, 0.5)
    crops = AudioCrops(clips, RATE, 1, crop_seconds=0.25, crops_per_epoch=50, seed=3)
    wholes = [read_audio(clip.path).samples for clip in clips]
    assert len(crops) == 50
    for crop in crops:
        clip, start = origin(crop)
        assert torch.equal(crop, wholes[clip][:, start : start + 2000])


def test_each_second_is_equally_likely(tmp_path):
    clips = ramps(tmp_path, 1.0, 3.0, 0.5)
    crops = AudioCrops(clips, RATE, 1, crop_seconds=0.25, crops_per_epoch=3000, seed=0)
    origins = [origin(crop) for crop in crops]
    shares = np.bincount([clip for clip, _ in origins], minlength=3) / 3000
    np.testing.assert_allclose(shares, np.array([1.0, 3.0, 0.5]) / 4.5, atol=0.03)
    starts = np.array([start for clip, start in origins if clip == 1])
    counts, _ = np.histogram(starts, bins=4, range=(0, 22001))
    np.testing.assert_allclose(counts / len(starts), 0.25, atol=0.04)
    last = [start for clip, start in origins if clip == 2]
    assert 0 <= min(last) < 60
    assert 1940 < max(last) <= 2000


def test_a_crop_may_be_the_whole_clip(tmp_path):
    crops = AudioCrops(ramps(tmp_path, 0.25), RATE, 1, 0.25, crops_per_epoch=3)
    assert [origin(crop) for crop in crops] == [(0, 0)] * 3


def test_seed_epoch_and_index_decide(tmp_path):
    clips = ramps(tmp_path, 1.0, 3.0)
    first, again, other = (AudioCrops(clips, RATE, 1, 0.25, 20, seed=seed) for seed in (1, 1, 2))
    backwards = [again[i] for i in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, backwards, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    epoch_0 = list(first)
    first.set_epoch(1)
    epoch_1 = list(first)
    assert not any(torch.equal(a, b) for a, b in zip(epoch_0, epoch_1, strict=True))
    first.set_epoch(0)
    assert all(torch.equal(a, b) for a, b in zip(first, epoch_0, strict=True))
    assert len({origin(crop) for crop in epoch_0 + epoch_1}) > 35


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_change_nothing_and_see_the_epoch(tmp_path, context):
    crops = AudioCrops(ramps(tmp_path, 1.0, 3.0), RATE, 1, 0.25, crops_per_epoch=12, seed=0)
    loader = DataLoader(crops, batch_size=3, num_workers=2, persistent_workers=True, multiprocessing_context=context)
    for epoch in (0, 5):
        crops.set_epoch(epoch)
        assert torch.equal(torch.cat(list(loader)), torch.stack(list(crops)))


def test_rate_and_channels_are_converted():
    clips = list_clips(sample_folder(), "test", "music")
    crops = AudioCrops(clips, 16000, 2, 0.5, crops_per_epoch=4)
    assert torch.stack(list(crops)).shape == (4, 2, 8000)


def test_long_clips_are_read_in_part(tmp_path):
    clips = ramps(tmp_path, 4.0)
    cached = AudioCrops(clips, RATE, 1, 0.25, 40, seed=0)
    uncached = AudioCrops(clips, RATE, 1, 0.25, 40, seed=0, cache_megabytes=0.1)
    whole = read_audio(clips[0].path).samples
    for a, b in zip(cached, uncached, strict=True):
        assert abs(origin(a)[1] - origin(b)[1]) <= 0.1 * RATE + 1
        assert torch.equal(b, whole[:, origin(b)[1] :][:, :2000])
    assert len(uncached._cache) == 0


def test_a_crop_is_the_callers_own(tmp_path):
    crops = AudioCrops(ramps(tmp_path, 0.25), RATE, 1, 0.25, 2)
    before = crops[0].clone()
    crops[0].zero_()
    assert torch.equal(crops[1], before)
    assert crops[0].untyped_storage().nbytes() == 4 * 2000


def test_short_clips_are_skipped_or_padded(tmp_path):
    clips = ramps(tmp_path, 0.1, 1.0, 0.2)
    with pytest.warns(
        UserWarning, match=r"skipped 2 of 3 clips: .*0\.flac \(lasts 0\.100 s, a crop 0\.250 s\); .*2\.flac"
    ):
        crops = AudioCrops(clips, RATE, 1, 0.25, 30)
    assert {origin(crop)[0] for crop in crops} == {1}
    assert list(crops.skipped) == [str(clips[0].path), str(clips[2].path)]
    padded = AudioCrops(clips, RATE, 1, 0.25, 100, short="pad")
    found = [crop for crop in padded if origin(crop)[0] == 0]
    assert found
    assert all(crop.shape == (1, 2000) and not crop[:, 800:].any() for crop in found)
    assert padded.skipped == {}


def test_what_the_header_tells_is_found_at_once(tmp_path):
    ramps(tmp_path, 1.0)
    (tmp_path / "bad.wav").write_bytes(b"bad")
    (tmp_path / "empty.mp3").touch()
    with pytest.warns(UserWarning, match=r"2 of 3 clips: .*bad\.wav \(is not audio.*empty\.mp3 \(is empty"):
        crops = AudioCrops(
            [Clip(path, path.name, "", "", 0, 0) for path in sorted(tmp_path.iterdir())], RATE, 1, 0.25, 10
        )
    assert len(list(crops)) == 10
    assert len(crops.skipped) == 2


def broken(folder, name, seconds=5.0):
    """A file whose header is right and whose samples are not."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE))
    samples[-1] = np.nan
    soundfile.write(folder / name, samples, RATE, "FLOAT")
    return Clip(folder / name, name, "train", "", seconds, RATE)


def test_a_clip_that_fails_when_read_is_replaced_alike_in_every_process(tmp_path):
    clips = [*ramps(tmp_path, 1.0, 1.0), broken(tmp_path, "broken.wav")]
    crops = AudioCrops(clips, RATE, 1, 0.25, 16, seed=0)
    assert crops.skipped == {}
    with pytest.warns(UserWarning, match=r"skipped .*broken\.wav: holds NaN") as caught:
        here = list(crops)
    assert len(caught) == 1  # named once, though drawn again and again
    assert list(crops.skipped) == [str(clips[2].path)]
    assert {origin(crop)[0] for crop in here} == {0, 1}
    fresh = AudioCrops(clips, RATE, 1, 0.25, 16, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(torch.cat(list(DataLoader(fresh, batch_size=4, num_workers=2))), torch.stack(here))
        assert list(fresh.skipped) == [str(clips[2].path)]  # found by the workers
        late = AudioCrops(clips, RATE, 1, 0.25, 16, seed=0)
        assert torch.equal(late[11], here[11])  # whatever was read before


def far(folder, name, place, seconds=2.0):
    """A file with one sample that is far outside ±1, at a share of its duration; its other samples are 0.95."""
    samples = np.full(round(seconds * RATE), 0.95, np.float32)
    samples[int(place * len(samples))] = 3e19
    soundfile.write(folder / name, samples, RATE, "FLOAT")
    return Clip(folder / name, name, "train", "", seconds, RATE)


@pytest.mark.filterwarnings("ignore:.*the samples reach 3e\\+19")
def test_a_clip_far_outside_full_scale_is_replaced_and_named(tmp_path):
    clips = [*ramps(tmp_path, 1.0), far(tmp_path, "far.wav", 0.5)]
    crops = AudioCrops(clips, RATE, 1, 0.25, 16, seed=0)
    with pytest.warns(
        UserWarning, match=r"skipped .*far\.wav: reaches 3e\+19, a codec takes samples of about −1 … 1"
    ) as caught:
        assert {origin(crop)[0] for crop in crops} == {0}
    assert len([warning for warning in caught if "skipped" in str(warning.message)]) == 1
    assert list(crops.skipped) == [str(clips[1].path)]


@pytest.mark.filterwarnings("ignore:.*far outside ±1")
def test_of_a_clip_that_is_read_in_parts_those_far_outside_are_replaced(tmp_path):
    """Whatever was drawn before: a part that is met first must not change what other parts give."""
    clips = [*ramps(tmp_path, 1.0), far(tmp_path, "far.wav", 0.5)]
    crops = AudioCrops(clips, RATE, 1, 0.25, 60, seed=0, cache_megabytes=0)
    with pytest.warns(UserWarning, match=r"far\.wav: a part of it reaches 3e\+19, .*such parts are skipped") as caught:
        found = torch.stack(list(crops))
    assert len(caught) == 1
    assert found.max() < 1
    assert 10 < int((found[:, 0, 0] > 0.9).sum()) < 50  # most parts can be used
    alone = AudioCrops(clips, RATE, 1, 0.25, 60, seed=0, cache_megabytes=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert all(torch.equal(alone[index], found[index]) for index in reversed(range(60)))
        nothing = AudioCrops(clips[1:], RATE, 1, 2.0, 1, cache_megabytes=0, short="pad")
        with pytest.raises(ValueError, match="the last failure: their samples are far outside ±1"):
            nothing[0]


@pytest.mark.parametrize("cache_megabytes", [256, 0])
def test_a_clip_that_is_cut_short_is_used_and_named_once(tmp_path, cache_megabytes):
    clips = ramps(tmp_path, 4.0)
    data = clips[0].path.read_bytes()
    clips[0].path.write_bytes(data[: len(data) // 2])
    crops = AudioCrops(clips, RATE, 1, 0.25, 40, cache_megabytes=cache_megabytes)
    with pytest.warns(UserWarning, match=r"0\.flac: .*silence") as caught:
        found = list(crops)
    assert len({str(warning.message) for warning in caught}) == (2 if cache_megabytes else 1)
    assert crops.skipped == {}
    silent = sum(not crop.any() for crop in found)
    assert 8 < silent < 32


def test_a_manifest_that_overstates_a_duration(tmp_path):
    clips = [*ramps(tmp_path, 0.1, 1.0), Clip(tmp_path / "gone.wav", "gone.wav", "", "", 9.0, RATE)]
    clips[0] = Clip(clips[0].path, "0.flac", "train", "", 9.0, RATE)
    crops = AudioCrops(clips, RATE, 1, 0.25, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {origin(crop)[0] for crop in crops} == {1}
    assert list(crops.skipped.values()) == [
        "lasts 0.100 s, a crop 0.250 s",
        f"no such audio file: {tmp_path / 'gone.wav'}",
    ]


def test_all_clips_bad(tmp_path):
    with pytest.raises(ValueError, match=r"no clip can be used, skipped 2 of 2 clips: .*0\.flac \(lasts 0\.100 s"):
        AudioCrops(ramps(tmp_path, 0.1, 0.2), RATE, 1, 0.25, 10)
    crops = AudioCrops([broken(tmp_path, "a.wav"), broken(tmp_path, "b.wav")], RATE, 1, 0.25, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            with pytest.raises(
                ValueError, match=r"none of the 2 clips can be read; the last failure: .*\.wav holds NaN"
            ):
                crops[0]


def test_arguments_are_checked(tmp_path):
    clips = ramps(tmp_path, 1.0)
    good = {"sample_rate": RATE, "channels": 1, "crop_seconds": 0.25, "crops_per_epoch": 10}
    for change, message in (
        ({"channels": 3}, "channels is 3, allowed are 1 and 2"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"crop_seconds": 0}, "crop_seconds in samples is 0"),
        ({"crops_per_epoch": 0}, "crops_per_epoch is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"short": "loop"}, "short is 'loop', allowed are 'skip' and 'pad'"),
    ):
        with pytest.raises(ValueError, match=message):
            AudioCrops(clips, **{**good, **change})
    with pytest.raises(ValueError, match="clips is empty"):
        AudioCrops([], **good)
    crops = AudioCrops(clips, **good)
    with pytest.raises(ValueError, match="epoch is -1"):
        crops.set_epoch(-1)
    with pytest.raises(IndexError, match="crop 10 of 10"):
        crops[10]


def grouped(folder):
    clips = ramps(folder, 1.0, 3.0, 0.5)
    return [replace(clip, group=group) for clip, group in zip(clips, ("speech", "music", "speech"), strict=True)]


def test_groups_have_the_shares_asked_for(tmp_path):
    crops = AudioCrops(
        grouped(tmp_path), RATE, 1, 0.25, crops_per_epoch=3000, group_shares={"speech": 3.0, "music": 1.0}
    )
    found = np.bincount([origin(crop)[0] for crop in crops], minlength=3) / 3000
    np.testing.assert_allclose(found, [0.75 * 1.0 / 1.5, 0.25, 0.75 * 0.5 / 1.5], atol=0.03)


def test_groups_that_are_not_named_are_not_used(tmp_path):
    crops = AudioCrops(grouped(tmp_path), RATE, 1, 0.25, crops_per_epoch=100, group_shares={"music": 1.0})
    assert {origin(crop)[0] for crop in crops} == {1}


def test_crops_at_a_random_level(tmp_path):
    clips = ramps(tmp_path, 1.0, 3.0)
    plain = AudioCrops(clips, RATE, 1, 0.25, crops_per_epoch=300)
    levels = AudioCrops(clips, RATE, 1, 0.25, crops_per_epoch=300, peak_db=(-20.0, -10.0))
    peaks = 20 * np.log10([crop.abs().max().item() for crop in levels])
    assert peaks.min() > -20.01
    assert peaks.max() < -9.99
    assert peaks.mean() == pytest.approx(-15, abs=0.5)
    gain = levels[7].abs().max() / plain[7].abs().max()
    torch.testing.assert_close(levels[7], plain[7] * gain)


def test_silence_has_no_level(tmp_path):
    write_audio(tmp_path / "silent.wav", torch.zeros(1, 4000), RATE)
    crops = AudioCrops(list_clips(tmp_path), RATE, 1, 0.25, crops_per_epoch=1, peak_db=(-20.0, 0.0))
    assert not crops[0].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"peak_db": (0.0, -20.0)}, r"peak_db is \(0.0, -20.0\), it must be two rising levels"),
        ({"group_shares": {"music": 0.0}}, "group_shares is {'music': 0.0}, it must name groups with positive shares"),
        ({"group_shares": {"noise": 1.0}}, "group_shares names noise; the clips have music, speech"),
    ],
)
def test_shares_and_levels_that_make_no_sense(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        AudioCrops(grouped(tmp_path), RATE, 1, 0.25, crops_per_epoch=1, **arguments)
