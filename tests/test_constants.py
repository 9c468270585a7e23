"""A constant outlives whatever a loader, a cast or a move does to its module."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

import vqkit
from vqkit.constants import Constant
from vqkit.losses import BandLevels, CompressedSpectra, MultiScaleMel
from vqkit.nn import STFTDiscriminator
from vqkit.nn.lapped_spectrum import LappedAnalysis, LappedSynthesis

VALUES = [0.1, 1 / 3, 1e-9]
EXACT = torch.tensor(VALUES, dtype=torch.float64)


class Scaled(torch.nn.Module):
    def __init__(self, values=VALUES):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.factor = Constant(lambda: torch.tensor(values, dtype=torch.float64))

    def forward(self, x):
        return x * self.factor.on(x.device)


def on_meta() -> Scaled:
    with torch.device("meta"):
        return Scaled()


def in_inference() -> Scaled:
    with torch.inference_mode():
        return Scaled()


def copied_in_inference() -> Scaled:
    module = Scaled()
    with torch.inference_mode():
        factor = copy.deepcopy(module.factor)
    module.factor = factor
    return module


def filled() -> Scaled:
    module = Scaled()
    for value in (*module.parameters(), *module.buffers(), *module.state_dict().values()):
        value.data.fill_(torch.nan)  # what a loader that knows only tensors may do before it reads them
    return module


LIVES = {
    "half": lambda: Scaled().half(),
    "half and back": lambda: Scaled().bfloat16().float(),
    "meta, to_empty": lambda: on_meta().to_empty(device="cpu"),
    "to_empty": lambda: Scaled().to_empty(device="cpu"),
    "tensors filled in place": filled,
    "built in inference mode": in_inference,
    "deepcopy": lambda: copy.deepcopy(Scaled()),
    "deepcopy in inference mode": copied_in_inference,
    "pickle": lambda: pickle.loads(pickle.dumps(Scaled())),  # noqa: S301  # our own bytes
    "to another device": lambda: Scaled().to("meta"),
}


@pytest.mark.parametrize("life", LIVES)
def test_a_constant_survives(life):
    module = LIVES[life]()
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    out = module(x)
    assert torch.equal(out, EXACT)
    out.sum().backward()
    assert torch.equal(x.grad, EXACT)


def test_a_constant_is_no_state():
    assert Scaled().state_dict().keys() == {"linear.weight", "linear.bias"}
    assert not list(Scaled().buffers())


def test_a_copy_on_another_device_is_made_once():
    constant = Scaled().factor
    device = torch.device("meta")
    assert constant.on(device) is constant.on(device)
    assert constant.on(device).device == device
    assert constant.on(torch.device("cpu")) is constant.value


def test_a_copy_in_another_dtype_is_rounded_once_from_the_full_value():
    constant = Scaled().half().factor
    single = constant.on(torch.device("cpu"), torch.float32)
    assert torch.equal(single, EXACT.float())
    assert constant.on(torch.device("cpu"), torch.float32) is single
    assert constant.on(torch.device("cpu"), torch.float64) is constant.value
    assert torch.equal(constant.on(torch.device("cpu"), torch.bfloat16), EXACT.bfloat16())


def test_nothing_of_a_trace_is_kept():
    module, x = Scaled(), torch.ones(3, device="meta")
    with FakeTensorMode(allow_non_fake_inputs=True):
        module(torch.empty(3, device="meta"))
    assert not module.factor._copies
    for strict in (False, True):
        torch.export.export(module.eval(), (x,), strict=strict)
        assert not module.factor._copies
    assert type(module.factor.on(x.device)) is torch.Tensor


def test_in_a_compiled_graph():
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    one, other = Scaled(), Scaled([1.0, 2.0, 3.0])
    x = torch.ones(3, dtype=torch.float64)
    for module in (one, other):  # the same code with other constants
        assert torch.equal(torch.compile(module, fullgraph=True, backend=counter)(x), module.factor.value)
    torch._dynamo.reset()
    away = torch.compile(one.to("meta"), fullgraph=True, backend=counter)
    before = counter.frame_count
    for _ in range(4):
        away(x.to("meta"))
    assert counter.frame_count - before <= 2  # the copy that the first call leaves is found by the second


@pytest.mark.parametrize("strict", [False, True])
def test_in_an_exported_graph(strict):
    module = Scaled().eval()
    dynamic = ({0: torch.export.Dim("batch", min=1, max=9)},)
    x = torch.ones(4, 3, dtype=torch.float64)
    program = torch.export.export(module, (x,), strict=strict, dynamic_shapes=dynamic).module()
    assert torch.equal(program(torch.ones(7, 3, dtype=torch.float64)), EXACT.expand(7, 3))


def trained_on_sound(module):
    generator = torch.Generator().manual_seed(0)
    return module(*(torch.randn(1, 1, 4000, generator=generator) for _ in range(2)))


def judged(module):
    return trained_on_sound(lambda wav, _: module(wav).scores[0])


def analysed(module):
    return trained_on_sound(lambda wav, _: module(wav))


def synthesised(module):
    return module(torch.randn(1, 34, 20, generator=torch.Generator().manual_seed(0)))


HOLDERS = {
    "BandLevels": (lambda: BandLevels(16000), trained_on_sound),
    "MultiScaleMel": (lambda: MultiScaleMel(16000), trained_on_sound),
    "CompressedSpectra": (CompressedSpectra, trained_on_sound),
    "STFTDiscriminator": (lambda: STFTDiscriminator(num_filters=2, window_samples=(256, 128)), judged),
    "LappedAnalysis": (lambda: LappedAnalysis(16), analysed),
    "LappedSynthesis": (lambda: LappedSynthesis(16), synthesised),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_losses_and_networks_keep_theirs(name):
    make, compute = HOLDERS[name]
    module = make()
    expected, state = compute(module), module.state_dict()
    with torch.device("meta"):
        deferred = make()
    deferred.to_empty(device="cpu")
    for value in (*deferred.parameters(), *deferred.buffers()):
        value.data.fill_(77)
    deferred.load_state_dict(state)
    rounded = copy.deepcopy(module).half().float()
    rounded.load_state_dict(state)
    for other in (deferred, rounded):
        assert torch.equal(compute(other), expected)


def test_there_is_one_mechanism():
    source = Path(vqkit.__file__).parent
    found = {path.name for path in source.rglob("*.py") if re.search(r"persistent=False", path.read_text())}
    assert found == {"quantizer_adapter.py"}  # an empty tensor that follows the model's dtype
