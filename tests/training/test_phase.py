"""Phases do what they say: what learns, what happens on entry, when the adversary plays; a run goes on in any of them, bit for bit."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from vqkit import RVQ
from vqkit.losses import WeightedLoss
from vqkit.models import ConvBackbone, ImageTokenizer
from vqkit.nn import PatchDiscriminator
from vqkit.training import Adversary, ImageDataModule, ReconstructionModule, train
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import Phase, spans
from vqkit.training.reconstruction.module import FitQuantizer, ReconstructionPhase
from vqkit.training.runs.checkpoint_io import SafeCheckpointIO

DECODER = "tokenizer.backbone.decoder"


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Note:
    """An entry action that can be counted."""

    calls: list = field(default_factory=list)

    def __call__(self, module):
        self.calls.append(module.trainer.fit_loop.total_batch_idx)


class Watched(ReconstructionModule):
    """Keeps the weights after every step, and ends before a step if it is told to."""

    kill_at = None

    def training_step(self, batch, batch_idx):
        if batch_idx == self.kill_at:
            raise Killed
        super().training_step(batch, batch_idx)
        self.states[batch_idx] = {name: value.clone() for name, value in self.state_dict().items()}


def module(phases, adversary=None, kill_at=None):
    torch.manual_seed(0)
    quantizer = RVQ(6, 8, 2, update="ema", init="kmeans", revive="restart")
    tokenizer = ImageTokenizer(ConvBackbone(6, width=4, residual_width=2, residual_blocks=1), quantizer)
    losses = [WeightedLoss("l1", nn.L1Loss(), 1.0)]
    how = Optimisation(learning_rate=1e-2, warmup_steps=1)
    made = Watched(tokenizer, losses, optimisation=how, phases=phases, adversary=adversary)
    made.states, made.kill_at = {}, kill_at
    return made


@pytest.fixture
def run(blob_images):
    def call(made, folder, steps=6, **options):
        data = ImageDataModule(str(blob_images), size=8, batch_size=4, valid_split=None)
        settings = {"save_every": 1, "accelerator": "cpu", "progress": False, "log_every": 1} | options
        train(made, data, folder=str(folder), steps=steps, **settings)
        return made.states

    return call


def changed(one, other):
    return {name for name in one if not torch.equal(one[name], other[name])}


def three_phases(note=None):
    note = note or Note()
    return [
        ReconstructionPhase(name="without quantizer", steps=2, quantized=False),
        ReconstructionPhase(name="all", steps=2, on_entry=(FitQuantizer(), note)),
        ReconstructionPhase(
            name="decoder only", trains=(DECODER,), optimisation=Optimisation(learning_rate=1e-3, warmup_steps=1)
        ),
    ]


def test_only_what_a_phase_names_learns(run, tmp_path):
    states = run(module(three_phases()), tmp_path)
    quantizer = {name for name in states[0] if ".quantizer." in name}
    decoder = {name for name in states[0] if name.startswith(DECODER)}
    networks = {name for name in states[0] if ".backbone." in name}
    assert not changed(states[0], states[1]) & quantizer
    assert changed(states[0], states[1]) & (networks - decoder)
    assert changed(states[2], states[3]) & quantizer
    assert changed(states[2], states[3]) & (networks - decoder)
    for before, after in ((3, 4), (4, 5)):  # neither gradients nor moving averages nor revival reach the codes
        assert changed(states[before], states[after])
        assert changed(states[before], states[after]) <= decoder


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 5])
def test_a_run_goes_on_in_any_phase_bit_for_bit(run, tmp_path, kill_at):
    whole_note, cut_note, resumed_note = Note(), Note(), Note()

    def judge():
        torch.manual_seed(1)  # it is made before the model, whose seed would come too late for the first of them
        return Adversary(
            PatchDiscriminator(width=4, num_layers=1, norm_groups=2), adversarial_weight=0.5, feature_weight=0.1
        )

    whole = run(module(three_phases(whole_note), judge()), tmp_path / "whole")
    with pytest.raises(Killed):
        run(module(three_phases(cut_note), judge(), kill_at), tmp_path / "cut")
    resumed = run(module(three_phases(resumed_note), judge()), tmp_path / "cut")
    assert list(resumed) == list(range(kill_at, 6))
    for step, state in resumed.items():
        assert not changed(whole[step], state), step
    assert whole_note.calls == [2]
    assert cut_note.calls + resumed_note.calls == [2]  # entered once, by whichever run came to it


def test_a_phase_with_its_own_optimisation_starts_a_new_schedule(run, tmp_path):
    made = module(three_phases())
    rates = []
    made.log = lambda name, value, **_: rates.append(float(value)) if name == "train/learning_rate" else None
    run(made, tmp_path)
    assert len(rates) == 6
    own = Optimisation(learning_rate=1e-3, warmup_steps=1)
    assert rates[4:] == pytest.approx([1e-3 * own.share(0, 2), 1e-3 * own.share(1, 2)])


def test_a_phase_with_its_own_optimisation_starts_a_new_optimizer(run, tmp_path):
    own = Optimisation(learning_rate=1e-3, warmup_steps=1, betas=(0.5, 0.6), weight_decay=0.25)
    run(module([*three_phases()[:2], ReconstructionPhase(name="last", optimisation=own)]), tmp_path)
    saved = SafeCheckpointIO().load_checkpoint(tmp_path / "last.safetensors")["optimizer_states"][0]
    assert {float(state["step"]) for state in saved["state"].values()} == {2.0}  # of six
    networks = saved["param_groups"][0]
    assert (tuple(networks["betas"]), networks["weight_decay"]) == ((0.5, 0.6), 0.25)


def test_the_adversary_plays_from_its_phase_on(run, tmp_path):
    phases = [
        ReconstructionPhase(name="without adversary", steps=3, adversary=False),
        ReconstructionPhase(name="with adversary"),
    ]
    judge = Adversary(PatchDiscriminator(width=4, num_layers=1, norm_groups=2), update_share=1.0)
    made = module(phases, judge)
    logged = []
    made.log = lambda name, value, **_: logged.append((name, len(made.states)))
    states = run(made, tmp_path)
    of_judge = {name for name in states[0] if name.startswith("adversary.")}
    assert of_judge
    for step in (0, 1):
        assert not changed(states[step], states[step + 1]) & of_judge
    for step in (2, 3, 4):
        assert changed(states[step], states[step + 1]) & of_judge
    assert [step for name, step in logged if name == "train/adversarial"] == [3, 4, 5]
    assert [step for name, step in logged if name == "train/l1"] == list(range(6))


def test_phases_are_laid_out_over_the_run():
    a, b, c = (Phase(name=name, steps=steps) for name, steps in (("a", 3), ("b", None), ("c", 2)))
    assert [(span.phase, span.first, span.steps) for span in spans([a, b, c], 10)] == [(a, 0, 3), (b, 3, 5), (c, 8, 2)]
    assert [(span.phase, span.first, span.steps) for span in spans([a, c], 4)] == [(a, 0, 3), (c, 3, 1)]
    assert [span.phase for span in spans([a, b, c], 2)] == [a]
    with pytest.raises(ValueError, match="the run has 9 steps, its phases 5: leave the steps of one phase out"):
        spans([a, c], 9)
    with pytest.raises(
        ValueError,
        match=r"only one phase may be without a number of steps, unless all those have shares, got \['b', 'b'\]",
    ):
        spans([b, b], 9)
    with pytest.raises(ValueError, match="phase 'x' has steps=-1, they must be at least 0"):
        Phase(name="x", steps=-1)
    with pytest.raises(ValueError, match="phase 'x' trains nothing"):
        Phase(name="x", trains=())
