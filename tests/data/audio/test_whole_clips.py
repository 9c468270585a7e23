import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from vqkit.data import AudioBatch, AudioClips, Clip, collate_clips, list_clips, read_audio, sample_folder


def test_items_are_the_clips_in_order():
    clips = list_clips(sample_folder(), "valid", "speech")
    dataset = AudioClips(clips, 8000, 1)
    assert len(dataset) == len(clips)
    for clip, item in zip(clips, dataset, strict=True):
        assert torch.equal(item, read_audio(clip.path, 8000, 1).samples)
        assert item.shape[1] / 8000 == pytest.approx(clip.seconds, abs=2e-3)


def test_batches_through_a_loader_with_workers():
    clips = list_clips(sample_folder(), "valid", "speech")
    dataset = AudioClips(clips, 16000, 2, max_seconds=0.5)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=collate_clips)
    batches = list(loader)
    assert all(isinstance(batch, AudioBatch) for batch in batches)
    assert sum(len(batch.lengths) for batch in batches) == len(clips)
    flat = [(wave, int(n)) for batch in batches for wave, n in zip(batch.waveforms, batch.lengths, strict=True)]
    for item, (wave, length) in zip(dataset, flat, strict=True):
        assert torch.equal(wave[:, :length], item)
        assert not wave[:, length:].any()
        assert length <= 8000


def test_bad_clips_are_errors(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"bad")
    dataset = AudioClips([Clip(tmp_path / "bad.wav", "bad.wav", "", "", 1.0, 16000)], 16000, 1)
    with pytest.raises(ValueError, match=r"bad\.wav is not audio"):
        dataset[0]
    soundfile.write(tmp_path / "far.wav", np.full(1600, 1e19, np.float32), 16000, "FLOAT")
    dataset = AudioClips([Clip(tmp_path / "far.wav", "far.wav", "", "", 0.1, 16000)], 16000, 1)
    with (
        pytest.warns(UserWarning, match="far outside ±1"),
        pytest.raises(ValueError, match=r"far\.wav reaches 1e\+19, a codec takes samples of about −1 … 1"),
    ):
        dataset[0]
    with pytest.raises(ValueError, match="clips is empty"):
        AudioClips([], 16000, 1)
    with pytest.raises(ValueError, match="clips is empty"):
        collate_clips([])
    with pytest.raises(ValueError, match=r"clips have \[1, 2\] channels"):
        collate_clips([torch.zeros(1, 3), torch.zeros(2, 3)])
