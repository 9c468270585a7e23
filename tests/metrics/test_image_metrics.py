"""What every metric of reconstructed images must do, and what each is, by other packages."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import metrics as skimage_metrics
from torch import distributed, multiprocessing
from torchmetrics.functional.image import peak_signal_noise_ratio

from vqkit.metrics import ImageMAE, ImageMSE, ImagePSNR, ImageSSIM, PerceptualMetric, image_metrics


class Furthest(SimpleNamespace):
    """A distance of images: the largest difference."""

    def __call__(self, estimate, reference):
        assert estimate.dtype == reference.dtype == torch.float32
        return (estimate - reference).abs().flatten(1).amax(1)


METRICS = {
    "psnr": ImagePSNR,
    "ssim": ImageSSIM,
    "mae": ImageMAE,
    "mse": ImageMSE,
    "lpips_furthest": lambda: PerceptualMetric(Furthest(name="furthest", settings={"power": "inf"})),
}
PERFECT = {"psnr": 100.0, "ssim": 1.0, "mae": 0.0, "mse": 0.0, "lpips_furthest": 0.0}


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]()


def images(channels=3, height=32, width=28, batch=4):
    """Smooth originals and noisy estimates that overshoot."""
    generator = torch.Generator().manual_seed(height + channels)
    low = torch.rand(batch, channels, 6, 6, generator=generator)
    reference = torch.nn.functional.interpolate(low, size=(height, width), mode="bilinear")
    return reference + 0.1 * torch.randn(reference.shape, generator=generator), reference


def value(metric, *args):
    fresh = copy.deepcopy(metric)
    fresh.reset()
    fresh.update(*args)
    return fresh.compute().item()


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 32, 32), (3, 11, 40)])
def test_psnr_and_ssim_equal_skimage(channels, height, width):
    estimate, reference = images(channels, height, width)
    expected = {"psnr": [], "ssim": [], "mae": [], "mse": []}
    for e, r in zip(estimate.clamp(0, 1).double().numpy(), reference.double().numpy(), strict=True):
        expected["psnr"].append(skimage_metrics.peak_signal_noise_ratio(r, e, data_range=1))
        expected["ssim"].append(
            skimage_metrics.structural_similarity(
                r, e, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
            )
        )
        expected["mae"].append(np.abs(e - r).mean())
        expected["mse"].append(skimage_metrics.mean_squared_error(r, e))
    for name, each in expected.items():
        assert value(METRICS[name](), estimate, reference) == pytest.approx(np.mean(each), rel=1e-6)


def test_psnr_equals_torchmetrics():
    estimate, reference = images()
    expected = peak_signal_noise_ratio(
        estimate.clamp(0, 1), reference, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"
    )
    assert value(ImagePSNR(), estimate, reference) == pytest.approx(expected.item(), rel=1e-5)


def test_nothing_is_rounded_to_bytes():
    reference = torch.full((1, 1, 28, 28), 0.5)
    assert value(ImageMAE(), reference + 1e-4, reference) == pytest.approx(1e-4, rel=1e-3)


def test_name_unit_and_protocol_are_stated(metric):
    protocol = metric.protocol
    assert json.loads(json.dumps(protocol, allow_nan=False)) == protocol
    assert METRICS[protocol["metric"]]().protocol == protocol
    assert protocol["unit"] == {"psnr": "dB"}.get(metric.name, "")
    assert protocol["better"] == ("higher" if metric.name in ("psnr", "ssim") else "lower")
    assert "\n" not in protocol["description"]


def test_perfect_reconstruction_also_of_one_colour(metric):
    _, reference = images()
    for picture in (reference, torch.zeros(1, 1, 28, 28), torch.ones(1, 3, 28, 28)):
        assert value(metric, picture, picture) == pytest.approx(PERFECT[metric.name], abs=1e-6)


def test_more_noise_is_worse(metric):
    _, reference = images()
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(2))
    values = [value(metric, reference + level * noise, reference) for level in (0.0, 1e-3, 1e-2, 1e-1)]
    assert values == sorted(values, reverse=bool(metric.higher_is_better))
    assert len(set(values)) == 4


def test_streaming_equals_all_at_once_and_images_alone(metric, monkeypatch):
    estimate, reference = images()
    whole = value(metric, estimate, reference)
    alone = [value(metric, e[None], r[None]) for e, r in zip(estimate, reference, strict=True)]
    assert whole == pytest.approx(np.mean(alone), rel=1e-6)
    monkeypatch.setattr("vqkit.metrics.image_pairs._PART_VALUES", 3 * reference[0].numel())
    assert value(metric, estimate, reference) == pytest.approx(whole, rel=1e-6)
    metric.update(estimate[:3], reference[:3])
    assert metric.compute().item() == pytest.approx(np.mean(alone[:3]), rel=1e-6)
    assert metric(estimate[3:], reference[3:]).item() == pytest.approx(alone[3], rel=1e-6)
    assert metric.compute().item() == pytest.approx(whole, rel=1e-6)
    result = metric.compute()
    assert result.dtype == torch.float32
    assert result.shape == ()
    assert not result.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype(metric, dtype):
    estimate, reference = (x.to(dtype) for x in images())
    assert value(metric, estimate, reference) == value(metric, estimate.double(), reference.double())


def test_before_any_image_there_is_no_value(metric):
    with pytest.raises(ValueError, match=f"{metric.name} has seen no image: call update before compute"):
        metric.compute()


def test_refused_batch_leaves_the_stream_as_it_was(metric):
    estimate, reference = images()
    metric.update(estimate, reference)
    before = metric.compute().item()
    broken = estimate.clone()
    broken[2, 0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match=f"{metric.name}: estimate of image 2 has NaN or infinite pixels"):
        metric.update(broken, reference)
    with pytest.raises(ValueError, match=f"{metric.name}: reference of image 2 has NaN or infinite pixels"):
        metric.update(estimate, broken)
    assert metric.compute().item() == before


def test_refuses_wrong_ranges_shapes_and_types(metric):
    estimate, reference = images()
    with pytest.raises(ValueError, match=r"reference must be in \[0, 1\], got values from -1 to 1"):
        metric.update(estimate, torch.linspace(-1, 1, estimate.numel()).view_as(estimate))
    with pytest.raises(ValueError, match=r"estimate \(4, 3, 32, 28\) and reference \(4, 1, 32, 28\) differ in shape"):
        metric.update(estimate, reference[:, :1])
    with pytest.raises(ValueError, match=r"must be \(batch, 1 or 3, height, width\), none empty, got \(3, 32, 28\)"):
        metric.update(estimate[0], reference[0])
    with pytest.raises(ValueError, match=r"none empty, got \(4, 32, 28, 3\)"):
        metric.update(estimate.permute(0, 2, 3, 1), reference.permute(0, 2, 3, 1))
    with pytest.raises(TypeError, match=r"reference must be a tensor of a float dtype, got torch\.uint8"):
        metric.update(estimate, (255 * reference).byte())
    with pytest.raises(TypeError, match="estimate must be a tensor of a float dtype, got ndarray"):
        metric.update(estimate.numpy(), reference)


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match="ssim: images must be at least 11 pixels high and wide, got 10 × 28"):
        ImageSSIM().update(*images(1, 10, 28))


def test_perceptual_metric_refuses_another_shape():
    metric = PerceptualMetric(Furthest(name="furthest", settings={}))
    metric.distance = lambda estimate, reference: estimate.mean()
    with pytest.raises(
        ValueError, match=r"lpips_furthest: the distance must give one finite number per image, \(4,\), got \(\)"
    ):
        metric.update(*images())


def work(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(1)
    estimate, reference = (x[:1] if rank == 0 else x[1:] for x in images())
    collection = image_metrics()
    collection.update(estimate, reference)
    (folder / f"{rank}.json").write_text(json.dumps({name: x.item() for name, x in collection.compute().items()}))
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    multiprocessing.spawn(work, args=(tmp_path,), nprocs=2)
    collection = image_metrics()
    collection.update(*images())
    expected = {name: x.item() for name, x in collection.compute().items()}
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(expected, rel=1e-6)
