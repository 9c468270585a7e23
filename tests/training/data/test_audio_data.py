from itertools import chain
from types import SimpleNamespace

import pytest
import soundfile
import torch

from vqkit.training.data.audio import AudioDataModule, ResumableLoader, StepBatches


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.tensor(index)


def test_ranks_share_the_batch_of_one():
    alone = list(StepBatches(5, 6))
    shares = [list(StepBatches(5, 6, rank, 3)) for rank in range(3)]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone
    assert list(chain(*alone)) == list(range(30))
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 4 processes, got 6"):
        StepBatches(5, 6, 0, 4)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_goes_on_after_what_was_delivered(num_workers):
    loader = ResumableLoader(Numbers(), StepBatches(10, 4), num_workers)
    batches = iter(loader)
    first = [next(batches).tolist() for _ in range(3)]
    state = loader.state_dict()
    assert state == {"batches": 3}
    again = ResumableLoader(Numbers(), StepBatches(10, 4), 0)
    again.load_state_dict(state)
    rest = [batch.tolist() for batch in again]
    assert list(chain(*first, *rest)) == list(range(40))
    assert len(again) == 10


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="crop_seconds must be positive, got 0"):
        AudioDataModule("x", crop_seconds=0)
    with pytest.raises(ValueError, match="valid_clips must be at least 1 and num_workers at least 0, got 0 and 0"):
        AudioDataModule("x", valid_clips=0)


def test_validation_leaves_out_and_names_clips_that_cannot_be_read(tmp_path, monkeypatch):
    for name, last in (("a", 0.0), ("b", float("nan")), ("c", 0.0)):
        soundfile.write(tmp_path / f"{name}.wav", [0.1] * 799 + [last], 8000, "FLOAT")
    data = AudioDataModule(str(tmp_path), valid_split=None)
    data.valid_split = ""
    trainer = SimpleNamespace(world_size=1, global_rank=0)
    monkeypatch.setattr(data, "_surroundings", lambda: (trainer, 8000, 1))
    with pytest.warns(UserWarning, match=r"skipped .*b\.wav: holds NaN"):
        loader = data.val_dataloader()
    assert [batch.lengths.tolist() for batch in loader] == [[800], [800]]
