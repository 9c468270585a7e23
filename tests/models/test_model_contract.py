"""What every model keeps, whatever its networks: one table of tiny models, which must hold each class and each backbone that there is."""

import copy
import functools
import hashlib
import io
import pkgutil
from dataclasses import dataclass, replace
from importlib import import_module

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

import vqkit.models.audio.compression
import vqkit.models.audio.padding
from vqkit import FSQ, LFQ, VQ, Residual
from vqkit.bitstream import BitstreamError, VqkReader, VqkWriter
from vqkit.models import (
    AudioCodec,
    ConvBackbone,
    DacCodec,
    ImageTokenizer,
    LappedBackbone,
    PixelBackbone,
    SpectralCodec,
    TransformBackbone,
    VideoTokenizer,
    ViTBackbone,
    VQGANBackbone,
)
from vqkit.models.audio.frames import FrameCodec
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.hub import HubModel
from vqkit.models.identity import weight_hash
from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.image.tiles import decode_tiles, encode_tiles
from vqkit.models.tokenizer import Tokenizer

SAMPLES = 203


def quantizer(dim):
    """Codes of three kinds: learned, and of constants."""
    return Residual([VQ(dim, 16, update="ema"), FSQ(dim, (5, 4)), LFQ(dim, 3)])


MAKE = {
    "SpectralCodec": lambda: SpectralCodec(
        quantizer(6), sample_rate=8000, hop_samples=8, encoder_width=8, decoder_width=8, encoder_blocks=1, decoder_blocks=1
    ),
    "SpectralCodec, stereo": lambda: SpectralCodec(
        quantizer(6), sample_rate=8000, channels=2, hop_samples=8, encoder_width=8, decoder_width=8, causal=True
    ),
    "SpectralCodec, pitch filter": lambda: SpectralCodec(
        quantizer(6),
        sample_rate=8000,
        hop_samples=8,
        encoder_width=8,
        decoder_width=8,
        decoder_blocks=1,
        pitch_filter_width=4,
        pitch_filter_passes=2,
    ),
    "AudioCodec": lambda: AudioCodec(quantizer(6), sample_rate=8000, num_filters=2, strides=(2, 4), num_lstm_layers=1),
    "AudioCodec, group norm": lambda: AudioCodec(
        quantizer(6), sample_rate=8000, num_filters=2, strides=(2, 4), causal=False, norm="time_group_norm"
    ),
    "DacCodec": lambda: DacCodec(quantizer(6), sample_rate=8000, num_filters=2, decoder_filters=8, strides=(2, 4)),
    "FrameCodec": lambda: FrameCodec(quantizer(8), sample_rate=8000),
    "ConvBackbone": lambda: ImageTokenizer(
        ConvBackbone(6, width=8, residual_width=4, residual_blocks=1), quantizer(6)
    ),
    "TransformBackbone": lambda: ImageTokenizer(
        TransformBackbone(6, width=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1)), quantizer(6)
    ),
    "LappedBackbone": lambda: ImageTokenizer(LappedBackbone(6), quantizer(6)),
    "PixelBackbone": lambda: ImageTokenizer(PixelBackbone(4), quantizer(48)),
    "ViTBackbone": lambda: ImageTokenizer(
        ViTBackbone(6, image_size=32, patch=8, tokens=5, width=8, depth=1, heads=2), quantizer(6)
    ),
    "VQGANBackbone": lambda: ImageTokenizer(
        VQGANBackbone(6, widths=(8, 16), blocks=1, norm_groups=4, attention_scales=(1,)), quantizer(6)
    ),
    "VideoTokenizer": lambda: VideoTokenizer(quantizer(6), width=8, residual_width=4, residual_blocks=1),
}  # fmt: skip
DTYPES = [torch.float16, torch.bfloat16, torch.float64]


@dataclass
class Case:
    """A model with a quantizer that fits its latents, and signals for it."""

    name: str
    model: HubModel
    signal: torch.Tensor

    @property
    def sound(self) -> bool:
        return self.signal.ndim == 3

    @property
    def video(self) -> bool:
        return self.signal.ndim == 5

    def size(self):
        return {"samples": SAMPLES} if self.sound else {"size": tuple(self.signal.shape[2:])}

    def decode(self, codes, model=None):
        return (model or self.model).decode(codes, **self.size())

    def compress(self, model=None, signal=None):
        signal = (self.signal if signal is None else signal)[0]
        return (model or self.model).compress(signal, *([8000] if self.sound else []))

    def decompress(self, data, model=None):
        found = (model or self.model).decompress(data)
        return found[0] if self.sound or self.video else found

    def outputs(self, model=None):
        """Everything that a model says of the signal, as tensors."""
        model = model or self.model
        codes = model.encode(self.signal)
        return [codes, self.decode(codes, model), model.analyze(self.signal)]


@functools.cache
def fitted(name):
    torch.manual_seed(0)
    model = MAKE[name]()
    if isinstance(model, ImageTokenizer):
        signal = torch.rand(2, 3, *(model.backbone.image_size or (30, 50)))
    elif isinstance(model, VideoTokenizer):
        signal = torch.rand(2, 3, 5, 18, 22)
    else:
        signal = 0.3 * torch.randn(2, model.channels, SAMPLES)
    with torch.no_grad():  # layers that start at zero or one, like norms, must not hide what was not loaded
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    if isinstance(model, FrameCodec):
        model.fit(signal[:, 0], iterations=2)
    model.eval()
    many = torch.rand(12, *signal.shape[1:]) if isinstance(model, ImageTokenizer | VideoTokenizer) else signal
    model.quantizer.fit(model.analyze(many), iterations=2)
    return Case(name, model.eval(), signal)


@pytest.fixture
def case(request):
    return fitted(request.param)


def those(*names):
    return pytest.mark.parametrize("case", names, indirect=True)


each = those(*MAKE)


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def concrete(base):
    found = {base} | {child for one in base.__subclasses__() for child in concrete(one)}
    ours = {one for one in found if one.__module__.startswith("vqkit.")}
    return {one for one in ours if one not in (Tokenizer, AudioTokenizer, WaveformCodec, ImageBackbone)}


def test_every_model_is_here():
    for module in pkgutil.walk_packages(vqkit.models.__path__, "vqkit.models."):
        import_module(module.name)
    models = [make() for make in MAKE.values()]
    assert {type(model) for model in models} == concrete(Tokenizer)
    assert {type(model.backbone) for model in models if isinstance(model, ImageTokenizer)} == concrete(ImageBackbone)


@each
def test_forward_encode_decode_and_file_agree(case):
    codes = case.model.encode(case.signal)
    assert codes.dtype == torch.int64
    assert len(codes.unique()) > 8  # the quantizer fits
    decoded = case.decode(codes)
    out = case.model(case.signal)
    assert torch.equal(out.codes.movedim(-1, 1), codes)
    assert torch.equal(out.signal if case.sound else out.signal.clamp(0, 1), decoded)
    assert decoded.shape == case.signal.shape
    whole = case.model.decode(case.model.encode(case.signal[:1]), **case.size())
    assert torch.equal(case.decompress(case.compress()), whole[0])


@each
def test_the_first_stages_suffice(case):
    codes = case.model.encode(case.signal)
    errors = [(case.decode(codes[:, :stages]) - case.decode(codes)).abs().max() for stages in (1, 2, 3)]
    assert errors[0] > 0
    assert errors[2] == 0


@each
def test_evaluation_changes_nothing(case):
    model = copy.deepcopy(case.model)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    codes = model.encode(case.signal)
    case.decode(codes, model)
    case.decode(codes.masked_fill(torch.zeros_like(codes, dtype=torch.bool), -1), model)
    model(case.signal.requires_grad_(True)).signal.sum()
    case.signal.requires_grad_(False)
    model.autoencode(case.signal)
    case.decompress(case.compress(model), model)
    assert torch.equal(torch.get_rng_state(), random)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(value.grad is None for value in model.parameters())


# --- precision


ERROR = {torch.float32: 1e-6, torch.float16: 5e-3, torch.bfloat16: 5e-2, torch.float64: 1e-6}


def relative_error(estimate, reference):
    return float((estimate.double() - reference).square().mean().sqrt() / reference.square().mean().sqrt())


@each
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_precisions(case, dtype):
    model = copy.deepcopy(case.model).to(dtype)
    codes = model.encode(case.signal)
    assert torch.equal(codes, model.encode(case.signal.to(dtype).float() if dtype == torch.float64 else case.signal))
    assert model.encode(case.signal.to(dtype)).shape == codes.shape
    assert (codes == case.model.encode(case.signal))[:, 0].float().mean() > (0.999 if dtype == torch.float64 else 0.7)
    decoded = case.decode(codes, model)
    assert decoded.dtype == dtype
    assert relative_error(decoded, case.decode(codes)) < ERROR[dtype]
    out = model(case.signal)
    assert out.signal.dtype == dtype
    assert torch.equal(out.codes.movedim(-1, 1), codes)
    assert torch.equal(out.signal if case.sound else out.signal.clamp(0, 1), decoded)
    assert model.autoencode(case.signal).signal.dtype == dtype


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_training_in_other_precisions(case, dtype):
    model = MAKE[case.name]().to(dtype).train()
    if isinstance(model, FrameCodec):
        assert model.fit(case.signal[:, 0], iterations=1).train().deviation.dtype == dtype
    if not model.initialized:
        model.initialize(case.signal)
    if model.rotatable:
        latent = model.analyze(case.signal).double()
        rotation = torch.linalg.qr(torch.randn(6, 6))[0]
        model.rotate_latent(rotation)
        assert relative_error(model.analyze(case.signal), latent @ rotation.double()) < ERROR[dtype]
    out = model(case.signal)
    ((out.signal - case.signal).square().mean() + out.quantized.loss).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())
    assert any(value.grad is not None for value in model.parameters())


@each
@pytest.mark.parametrize("dtype", DTYPES)
def test_files_cross_precisions(case, dtype):
    model, file = copy.deepcopy(case.model).to(dtype), case.compress()
    assert case.decompress(file, model).dtype == torch.float32
    back = case.decompress(case.compress(model), case.model)
    assert back.shape == case.signal[0].shape
    for signal in (case.signal, case.signal.to(dtype)):
        assert len(case.compress(model, signal)) == pytest.approx(len(file), rel=0.1)
    assert relative_error(case.decompress(file, model), case.decompress(file)) < ERROR[dtype]


@each
@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_are_not_rounded(case, dtype):
    model = copy.deepcopy(case.model).to(dtype).float()
    model.load_state_dict(case.model.state_dict())
    same(case.outputs(model), case.outputs())


@each
def test_a_copy_keeps_the_hash_until_its_weights_change(case, tmp_path):
    expected = weight_hash(case.model)
    for dtype in DTYPES:
        model = copy.deepcopy(case.model).to(dtype)
        assert weight_hash(model) == weight_hash(copy.deepcopy(model)) == weight_hash(model.float()) == expected
        model = copy.deepcopy(case.model).to(dtype)
        if dtype == torch.float16:
            continue  # as bfloat16
        model.save_pretrained(tmp_path / str(dtype))
        loaded = type(model).from_pretrained(tmp_path / str(dtype))
        assert {value.dtype for value in loaded.parameters()} <= {torch.float32}
        assert weight_hash(loaded) == expected
        for changed in (model, loaded):
            with torch.no_grad():
                next(value for value in changed.state_dict().values() if value.is_floating_point()).view(-1)[0] += 1
            assert weight_hash(changed) != expected
    weights = tmp_path / "torch.bfloat16" / "model.safetensors"
    with safe_open(weights, "pt") as file:
        claim = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    next(value for value in state.values() if value.is_floating_point()).view(-1)[0] += 1
    weights.write_bytes(safetensors.torch.save(state, claim))  # edited by someone who kept the metadata
    assert weight_hash(type(case.model).from_pretrained(weights.parent)) != expected
    outer = nn.Sequential(copy.deepcopy(case.model)).half()  # within another module
    assert weight_hash(outer[0]) == expected


class Shard(torch.Tensor):
    """Stands for tensors that hold a part of a weight, as FSDP's."""


def test_what_has_no_values_of_its_own_can_be_rounded():
    codec = FrameCodec(VQ(8, 4))
    codec.deviation = codec.deviation.as_subclass(Shard)
    codec.quantizer.to("meta")
    assert codec.half().deviation.dtype == torch.float16
    assert "_rounded" not in vars(codec)


# --- loaders


def garbage(model):
    """Fill all tensors with what a loader that knows only of the state dict may leave in them."""
    for value in (*model.parameters(), *model.buffers()):
        value.data.fill_(torch.nan if value.is_floating_point() else 77)
    return model


def by_meta(name, state):
    with torch.device("meta"):
        model = MAKE[name]()
    assert all(value.is_meta for value in (*model.parameters(), *model.buffers()))
    garbage(model.to_empty(device="cpu")).load_state_dict(state)
    return model


def by_assignment(name, state):
    with torch.device("meta"):
        model = MAKE[name]()
    model.load_state_dict(copy.deepcopy(state), assign=True)
    return model


def in_place(name, state):
    model = garbage(MAKE[name]())
    own = model.state_dict()
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value)
    return model


class WrappedConfig(PretrainedConfig):
    model_type = "vqkit-wrapped"

    def __init__(self, name="FrameCodec", **more):
        self.name = name
        super().__init__(**more)


class Wrapped(PreTrainedModel):
    config_class = WrappedConfig

    def __init__(self, config):
        super().__init__(config)
        self.inner = MAKE[config.name]()
        self.head = nn.Linear(2, 2)
        self.post_init()

    def _init_weights(self, module):
        pass


@pytest.fixture
def by_transformers(tmp_path):
    def load(name, state):
        model = Wrapped(WrappedConfig(name))
        model.inner.load_state_dict(state)
        model.save_pretrained(tmp_path)
        return Wrapped.from_pretrained(tmp_path).inner

    logging.disable_progress_bar()
    yield load
    logging.enable_progress_bar()


@each
@pytest.mark.parametrize("load", [by_meta, by_assignment, in_place])
def test_what_a_loader_fills_is_all_there_is(case, load):
    model = load(case.name, case.model.state_dict()).eval()
    same(case.outputs(model), case.outputs())
    assert weight_hash(model) == weight_hash(case.model)


@each
def test_inside_a_model_of_transformers(case, by_transformers):
    model = by_transformers(case.name, case.model.state_dict()).eval()
    same(case.outputs(model), case.outputs())


@each
def test_buffers_are_state(case):
    assert dict(case.model.named_buffers()).keys() <= case.model.state_dict().keys()


@each
def test_saving(case, tmp_path):
    case.model.save_pretrained(tmp_path)
    loaded = type(case.model).from_pretrained(tmp_path)
    assert not loaded.training
    same(case.outputs(loaded), case.outputs())
    assert case.compress(loaded) == case.compress()


# --- copies and devices


@each
def test_a_deep_copy(case):
    model = copy.deepcopy(case.model)
    same(case.outputs(model), case.outputs())
    ours, theirs = ({value.data_ptr() for value in one.state_dict().values()} for one in (model, case.model))
    assert not ours & theirs


@each
def test_signals_and_codes_move_to_the_model(case):
    model = copy.deepcopy(case.model).to("meta")  # stands for a device that a CPU tensor must not meet
    met = []
    for module in model.modules():
        kinds = (
            nn.Conv1d,
            nn.Conv2d,
            nn.Conv3d,
            nn.ConvTranspose1d,
            nn.ConvTranspose2d,
            nn.ConvTranspose3d,
            nn.Linear,
            nn.LSTM,
        )
        if isinstance(module, kinds):
            module.register_forward_pre_hook(lambda _, given: met.append(given[0].device.type))
    met.append(model.analyze(case.signal).device.type)
    z = torch.zeros_like(case.model.analyze(case.signal))
    met.append(model.synthesize(z, *case.size().values()).device.type)
    assert set(met) == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@each
def test_on_a_gpu(case):
    model = copy.deepcopy(case.model).cuda()
    codes = model.encode(case.signal)
    assert codes.is_cuda
    assert torch.equal(codes, model.encode(case.signal.cuda()))
    assert (codes.cpu() == case.model.encode(case.signal)).float().mean() > 0.95
    torch.testing.assert_close(case.decode(codes.cpu(), model).cpu(), case.decode(codes.cpu()), atol=1e-3, rtol=1e-3)
    assert case.decompress(case.compress(model)).shape == case.signal[0].shape
    assert not case.decompress(case.compress(), model).is_cuda
    assert weight_hash(model) == weight_hash(case.model)
    same(case.outputs(model.cpu()), case.outputs())


# --- parts of a signal


STREAMED = ("SpectralCodec", "SpectralCodec, stereo", "SpectralCodec, pitch filter", "AudioCodec")
TILED = ("ConvBackbone", "TransformBackbone", "LappedBackbone", "PixelBackbone")


@each
def test_which_models_work_on_parts_of_a_signal(case):
    if case.sound:
        try:
            case.model.streaming()
        except ValueError:
            assert case.name not in STREAMED
        else:
            assert case.name in STREAMED
    elif not case.video:  # a clip is coded as a whole
        assert (case.model.backbone.margin is not None) == (case.name in TILED)


@those(*STREAMED)
@pytest.mark.parametrize("dtype", [torch.float32, *DTYPES])
def test_a_stream_is_the_whole(case, dtype):
    model = copy.deepcopy(case.model).to(dtype)
    whole = model.encode(case.signal)
    with model.streaming(block_frames=3) as stream:
        codes = torch.cat(list(stream.encode_blocks(case.signal.split(17, dim=-1))), dim=-1)
        wav = torch.cat(list(stream.decode_blocks(whole.split(2, dim=-1), samples=SAMPLES)), dim=-1)
    assert codes.shape == whole.shape
    near = 0.97 if dtype in (torch.float16, torch.bfloat16) else 1.0
    assert (codes == whole)[:, 0].float().mean() >= near
    assert wav.dtype == dtype
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-5
    assert (wav - model.decode(whole, SAMPLES)).abs().max() < tolerance * max(1, wav.abs().max())


@those(*TILED)
@pytest.mark.parametrize("dtype", [torch.float32, *DTYPES])
def test_tiles_are_the_whole(case, dtype):
    model = copy.deepcopy(case.model).to(dtype)
    image = torch.rand(3, 30, 150, generator=torch.Generator().manual_seed(2))
    whole = model.encode(image[None])[0]
    codes = torch.cat(list(encode_tiles(model, image, model.backbone.cell * 2)))
    assert codes.shape == (whole[0].numel(), len(whole))
    near = 0.97 if dtype in (torch.float16, torch.bfloat16) else 1.0
    assert (codes == whole.flatten(1).T)[:, 0].float().mean() >= near
    made = decode_tiles(model, whole.flatten(1).T, (30, 150), model.backbone.cell * 2)
    assert made.dtype == torch.float32
    tolerance = 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-5
    assert (made - model.decode(whole[None], (30, 150))[0]).abs().max() < tolerance


# --- what is refused


@each
def test_bad_signals_are_refused_before_anything_is_computed(case, monkeypatch):
    model = copy.deepcopy(case.model)
    for module in (vqkit.models.audio.compression, vqkit.models.audio.padding):
        monkeypatch.setattr(module, "resample", lambda *_: pytest.fail("it was resampled"))
    for module in model.children():
        module.register_forward_pre_hook(lambda *_: pytest.fail("a layer ran"))
    signal, what = case.signal, "wav" if case.sound else "video" if case.video else "image"
    last, damaged = signal.movedim(1, -1), signal.clone()
    damaged[0, 0, 1] = torch.nan
    whole = "divided by 32768" if case.sound else "divided by 255"
    bad = [
        (
            (signal * 30000).to(torch.int16 if case.sound else torch.uint8),
            TypeError,
            f"{what}s? must be floating, got torch.*{whole}",
        ),
        (signal.numpy(), TypeError, f"{what}s? must be a floating torch.Tensor, got numpy.ndarray"),
        (last, ValueError, r"which looks like \("),
        (signal * 30000, ValueError, "reaches"),
        (signal / 0, ValueError, f"{what}s? has NaN or Inf"),
        (damaged, ValueError, f"{what}s? has NaN or Inf"),
        (signal[0], ValueError, "got shape"),
        (signal[..., :0], ValueError, "got shape"),
    ]
    for number, (value, error, message) in enumerate(bad):
        with pytest.raises(error, match=message):
            model.encode(value)
        if number == 6:
            continue
        with pytest.raises(error, match=message):
            model.compress(value[0], *([44100] if case.sound else []))
    for value, error, message in bad[:3]:  # what costs nothing to find is found in training too
        with pytest.raises(error, match=message):
            model.train()(value)


@each
def test_what_is_a_little_too_loud_or_bright_is_coded(case):
    if case.sound:
        case.model.encode(case.signal / case.signal.abs().max() * 4)
    else:
        case.model.encode(1.4 * case.signal - 0.2)


# --- whose files a model reads


@each
def test_files_of_other_weights_are_refused(case):
    file, other = case.compress(), copy.deepcopy(case.model)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    for model in (other, copy.deepcopy(other).half(), other.double()):
        with pytest.raises(BitstreamError, match="not by the one at hand with weights"):
            case.decompress(file, model)


@each
@pytest.mark.parametrize("dtype", DTYPES)
def test_files_that_a_copy_wrote_under_a_hash_of_its_own_stay_readable(case, dtype):
    """Before a copy kept the hash of its origin, its files named the hash of its own dtype and values."""
    model = copy.deepcopy(case.model).to(dtype)
    data, codes = case.compress(model), None
    with VqkReader(io.BytesIO(data)) as reader:
        header, codes = reader.header, reader.read()
    own = plain_hash(model)
    assert own != header.model_hash == plain_hash(case.model)
    old = io.BytesIO()
    with VqkWriter(old, replace(header, model_hash=own)) as writer:
        writer.write(codes)
    assert torch.equal(case.decompress(old.getvalue(), model), case.decompress(data, model))
    with pytest.raises(BitstreamError, match="weights"):
        case.decompress(old.getvalue())


def plain_hash(model):
    """SHA-256 over names, dtypes, shapes and values: what a file has named since the format began."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
