import torch

from vqkit.data.audio.batch_augment import mixup, random_gain, roll, spec_augment


def test_roll_turns_every_wave_in_a_circle():
    torch.manual_seed(0)
    wave = torch.arange(12.0).reshape(1, 1, 12).expand(8, 1, 12)
    rolled = roll(wave)
    for row in rolled[:, 0]:
        assert torch.equal(row.roll(-int(row.argmin())), torch.arange(12.0))
    assert len({int(row.argmin()) for row in rolled[:, 0]}) > 2


def test_gain_lies_around_one():
    torch.manual_seed(0)
    gains = random_gain(torch.ones(4000, 1, 2))
    assert torch.equal(gains[..., 0], gains[..., 1])
    assert 0.5 < gains.min() < gains.max() < 1.5
    assert abs(gains.mean() - 1) < 0.01
    # Beta(10, 10) has variance 1/84
    assert abs(gains[:, 0, 0].std() - (1 / 84) ** 0.5) < 0.01


def test_mixup_mixes_targets_as_it_mixes_waves():
    torch.manual_seed(0)
    targets = torch.eye(6)
    wave = targets[:, None, :].clone()  # the wave says which it is
    mixed, wanted = mixup(wave, targets, probability=1.0)
    torch.testing.assert_close(mixed[:, 0], wanted)
    assert not torch.equal(wanted, targets)
    untouched, same = mixup(wave, targets, probability=0.0)
    assert torch.equal(untouched, wave)
    assert torch.equal(same, targets)


def test_spec_augment_blanks_one_stretch_of_each():
    torch.manual_seed(0)
    spectra = torch.ones(200, 1, 40, 30)
    blank = spec_augment(spectra, frames=10, bands=5) == 0
    rows, columns = blank.all(3)[:, 0], blank.all(2)[:, 0]
    assert rows.sum(1).max() == 10
    assert columns.sum(1).max() == 5
    assert torch.equal(blank[:, 0], rows[:, :, None] | columns[:, None, :])
    for stretch in (rows, columns):
        changes = (stretch[:, 1:] != stretch[:, :-1]).sum(1)
        assert changes.max() <= 2
