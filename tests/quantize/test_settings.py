"""What was changed after construction, and what a constructor takes by ``*args`` and ``**kwargs``, survives saving."""

import json
from typing import Any

import pytest
import torch

from vqkit import FSQ, IVQ, RVQ, VQ, Projected, QINCo, Quantizer


class Named(VQ):
    """A user's quantizer that hands on whatever it gets."""

    def __init__(self, *sizes: int, note: str = "", **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.note = note


def saved(quantizer, folder):
    quantizer.save_pretrained(folder)
    return Quantizer.from_pretrained(folder)


def test_settings_changed_after_construction_survive_saving(tmp_path):
    quantizer = RVQ(4, 8, 3)
    quantizer.quantizer.stage_dropout = 0.5
    quantizer.quantizer.beam = 4
    quantizer.quantizer.stages[1].commitment_weight = 1
    quantizer.quantizer.stages[2].codebook.decay = 0.5
    back = saved(quantizer, tmp_path / "rvq")
    assert (back.quantizer.stage_dropout, back.quantizer.beam) == (0.5, 4)
    assert [stage.commitment_weight for stage in back.quantizer.stages] == [0.25, 1, 0.25]
    assert [stage.codebook.decay for stage in back.quantizer.stages] == [0.98, 0.98, 0.5]
    again = saved(back, tmp_path / "again")  # and a second time
    assert again.quantizer.stages[2].codebook.decay == 0.5
    qinco = QINCo(4, 8, 2, hidden=8)
    qinco.beam, qinco.candidates = 3, 2
    back = saved(qinco, tmp_path / "qinco")
    assert (back.beam, back.candidates) == (3, 2)
    ivq = IVQ(12)
    ivq.structure_weights = {"zong": 0.1, "cuo": 0.2, "cuozong": 0.0}
    assert saved(ivq, tmp_path / "ivq").structure_weights == ivq.structure_weights


def test_what_was_not_changed_is_not_in_the_config(tmp_path):
    saved(RVQ(4, 8, 3), tmp_path)
    assert "settings" not in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize(
    "settings",
    [
        {"": {"forward": "x"}},
        {"": {"dim": 8}},
        {"": {"_arguments": {}}},
        {"": {"beam": 4}},
        {"codebook": {"decay": [1]}},
        {"codebook.nowhere": {"decay": 0.5}},
        {"codebook": {"unheard_of": 0.5}},
    ],
)
def test_a_config_reaches_only_settings(settings, tmp_path):
    VQ(4, 8).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "settings": settings}))
    with pytest.raises(ValueError, match="config does not fit VQ"):
        Quantizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("beam", [0, -1, 1025, 1 << 30, 2.5, True, None])
def test_the_width_of_a_search_is_bounded_in_a_config(beam, tmp_path):
    RVQ(4, 8, 3).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "settings": {"quantizer": {"beam": beam}}}))
    with pytest.raises(ValueError, match="has no setting 'beam' that could be"):
        Quantizer.from_pretrained(tmp_path)


def test_arguments_by_star_survive_saving(tmp_path):
    quantizer = Named(4, 8, note="mine", decay=0.5, gradient="rotation").eval()
    back = saved(quantizer, tmp_path / "own").eval()
    assert (back.note, back.codebook.decay, back.gradient) == ("mine", 0.5, "rotation")
    z = torch.randn(2, 5, 4)
    assert torch.equal(back(z).z_q, quantizer(z).z_q)
    projected = Projected(8, Named(4, 8, decay=0.7))
    assert saved(projected, tmp_path / "within").quantizer.codebook.decay == 0.7
    assert saved(FSQ(4, [5, 5, 3, 3]), tmp_path / "fsq").code_sizes == FSQ(4, [5, 5, 3, 3]).code_sizes
