"""What holds for every metric of the package: found by walking it, so that a new one is tested without being named here."""

import importlib
import inspect
import json
import pkgutil
from types import SimpleNamespace

import pytest
import torch
from test_image_metrics import METRICS as IMAGE_METRICS
from test_metric_contract import METRICS as SOUND_METRICS

import vqkit.metrics
from vqkit.metrics import (
    DNSMOS,
    BitRate,
    ClassifierScore,
    CodebookUsage,
    ImageFrechetDistance,
    ImageMetric,
    ReconstructionMetric,
    StreamingMetric,
)
from vqkit.metrics.perceptual import PerceptualMetric


def walked() -> dict[str, type[StreamingMetric]]:
    """Every metric that is not abstract, by module and name."""
    found = {}
    for module in pkgutil.walk_packages(vqkit.metrics.__path__, "vqkit.metrics."):
        for kind in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(kind) and issubclass(kind, StreamingMetric) and kind.__module__ == module.name:
                found[f"{module.name.rpartition('.')[2]}.{kind.__name__}"] = kind
    return {name: kind for name, kind in found.items() if not inspect.isabstract(kind)}


class Fake(SimpleNamespace):
    """Stands for a network of one's choice: three numbers of every channel or image."""

    def __init__(self, **more: object) -> None:
        super().__init__(name="fake", settings={"layer": 1}, dim=3, min_samples=400, sample_rate=16000, **more)

    def embed(self, signals: torch.Tensor) -> torch.Tensor:
        value = signals.double().flatten(1)
        return torch.stack([value.mean(1), value.square().mean(1), value.abs().amax(1)], dim=1) + 0.1

    __call__ = embed


class FakeClassifier(Fake):
    def __call__(self, signals: torch.Tensor) -> torch.Tensor:
        logits = 3 * self.embed(signals)
        return logits if signals.ndim == 4 else logits.mean(dim=0).softmax(dim=0)  # of images, or of a clip


class FakeDistance(Fake):
    def __call__(self, estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return (estimate - reference).abs().flatten(1).mean(1)


# what parameters without a default are given
GIVEN = {
    "sample_rate": 16000,
    "classifier": FakeClassifier(),
    "embedder": Fake(),
    "extractor": Fake(),
    "distance": FakeDistance(),
    "code_sizes": [4, 4],
}
NETWORKS = {"classifier", "embedder", "extractor", "distance"}
ALL = walked()


def made(name: str) -> StreamingMetric:
    needed = [
        parameter
        for parameter, about in inspect.signature(ALL[name]).parameters.items()
        if about.default is about.empty and about.kind is not about.VAR_KEYWORD
    ]
    if name == "kld.KLD":  # has a default each, and needs one of two
        needed = ["classifier"]
    options = {"num_classes": 3, "num_splits": 1} if name == "classifier_score.ClassifierScore" else {}
    try:
        return ALL[name](**{parameter: GIVEN[parameter] for parameter in needed}, **options)
    except ImportError as error:  # a model of hearing whose package is not there
        pytest.skip(str(error))


def batches(metric: StreamingMetric, estimate: torch.Tensor, reference: torch.Tensor) -> list[tuple]:
    """Two updates that differ, and what they are when joined."""
    if isinstance(metric, BitRate):
        return [(300, 1.0), (100, 0.5), (400, 1.5)]
    if isinstance(metric, CodebookUsage):
        codes = torch.tensor([[0, 1], [2, 1], [3, 3], [0, 0], [1, 1]])
        return [(codes[:2],), (codes[2:],), (codes,)]
    if isinstance(metric, (ImageMetric, ImageFrechetDistance, ClassifierScore)):
        generator = torch.Generator().manual_seed(0)
        references = torch.rand(6, 3, 32, 28, generator=generator)
        estimates = references + 0.1 * torch.randn(references.shape, generator=generator)
    else:
        shares = (1.0, 0.5, 0.25, 0.1, 0.7, 0.3)
        references = torch.stack([reference * share for share in shares])
        estimates = torch.stack([reference * share + (estimate - reference) for share in shares])
    return [(estimates[:2], references[:2]), (estimates[2:], references[2:]), (estimates, references)]


def number(metric: StreamingMetric) -> float:
    value = metric.compute()
    return value.pooled.entropy_bits if isinstance(metric, CodebookUsage) else float(value)


every_metric = pytest.mark.parametrize("name", ALL)


def test_the_walk_finds_what_the_package_names():
    public = {getattr(vqkit.metrics, name) for name in vqkit.metrics.__all__}
    kinds = {kind for kind in public if inspect.isclass(kind) and issubclass(kind, StreamingMetric)}
    assert {kind for kind in kinds if not inspect.isabstract(kind)} <= set(ALL.values())
    assert len(ALL) >= 20


@every_metric
def test_name_unit_and_protocol_are_stated(name):
    metric = made(name)
    protocol = metric.protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert set(protocol) == {"metric", "unit", "better", "description", "settings"}
    assert protocol["metric"] == metric.name
    assert metric.name.isidentifier()
    assert metric.name == metric.name.lower()
    assert isinstance(protocol["unit"], str)
    assert protocol["better"] == {True: "higher", False: "lower", None: None}[metric.higher_is_better]
    assert protocol["description"]
    assert "\n" not in protocol["description"]
    assert made(name).protocol == protocol


@every_metric
def test_every_argument_of_the_constructor_is_in_the_protocol(name):
    """A number cannot be compared with another if what changes it is not said."""
    kind = ALL[name]
    said = json.dumps(made(name).settings)
    for parameter in inspect.signature(kind).parameters:
        if (name, parameter) != ("kld.KLD", "sample_rate"):  # of the classifier that ships, which this one is not
            word = "fake" if parameter in NETWORKS else parameter
            assert word in said, f"{parameter} is not in {said}"


@every_metric
def test_nothing_counted_is_refused_and_states_start_at_zero(name):
    metric = made(name)
    with pytest.raises(ValueError, match=f"{metric.name} has seen"):
        metric.compute()
    states = {key: getattr(metric, key) for key in metric._defaults}
    assert states
    assert all(isinstance(value, torch.Tensor) and not value.any() for value in states.values())
    assert {value.dtype for value in states.values()} <= {torch.float64, torch.int64}  # sums over ranks stay exact
    assert all(function is not None for function in metric._reductions.values())


@every_metric
def test_a_stream_may_be_cut_and_is_forgotten_by_reset(name, speech, noisy_speech):
    if name in ("visqol.ViSQOL", "dnsmos.DNSMOS"):
        pytest.skip("their models take seconds a clip; the stream is that of all means over clips")
    first, second, joined = batches(made(name), noisy_speech, speech)
    parts, whole, alone = made(name), made(name), made(name)
    parts.update(*first)
    parts.update(*second)
    whole.update(*joined)
    alone.update(*first)
    assert number(parts) == pytest.approx(number(whole), rel=1e-6)
    assert number(alone) != pytest.approx(number(whole), rel=1e-6)  # so the second part counted
    if not isinstance(whole, CodebookUsage):
        assert whole.compute().dtype == torch.float32
        assert whole.compute().shape == ()
    parts.reset()
    with pytest.raises(ValueError, match=f"{parts.name} has seen"):
        parts.compute()
    parts.update(*first)
    assert number(parts) == number(alone)


def test_every_metric_of_reconstructions_is_under_its_contract():
    """The full contracts: of sound in test_metric_contract, of images in test_image_metrics."""
    sound = {kind for kind in ALL.values() if issubclass(kind, ReconstructionMetric)}
    images = {kind for kind in ALL.values() if issubclass(kind, ImageMetric)}
    for kind in [kind for kind in sound if NETWORKS & set(inspect.signature(kind).parameters)]:
        sound.remove(kind)  # what a network of one's choice makes of silence or noise is not known
    hearing = {kind for kind in sound if issubclass(kind, PerceptualMetric)} | {DNSMOS}  # need speech, and packages
    assert {type(make()) for make in SOUND_METRICS.values()} == sound - hearing
    assert {type(make()) for make in IMAGE_METRICS.values()} == images
