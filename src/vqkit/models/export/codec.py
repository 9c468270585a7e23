"""A codec as two ONNX files, for programs without PyTorch: waveform → codes, and codes → waveform."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from vqkit.files import NewFile
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.export.layers import exportable
from vqkit.models.identity import weight_hash
from vqkit.quantize import Quantizer
from vqkit.types import Float, Int, need

__all__ = ["export_onnx"]


class _Encode(nn.Module):
    def __init__(self, encoder: nn.Module, quantizer: Quantizer) -> None:
        super().__init__()
        self.encoder, self.quantizer = encoder, quantizer

    def forward(self, wav: Float[Tensor, "batch channels samples"]) -> Int[Tensor, "batch num_codes frames"]:
        return self.quantizer.encode(self.encoder(wav).transpose(1, 2)).transpose(1, 2)


class _Decode(nn.Module):
    def __init__(self, quantizer: Quantizer, decoder: nn.Module) -> None:
        super().__init__()
        self.quantizer, self.decoder = quantizer, decoder

    def forward(self, codes: Int[Tensor, "batch num_codes frames"]) -> Float[Tensor, "batch channels samples"]:
        wav: Tensor = self.decoder(self.quantizer.decode(codes.transpose(1, 2)).transpose(1, 2))
        return wav


def export_onnx(codec: AudioTokenizer, folder: str | Path) -> tuple[Path, Path]:
    """Write ``encoder.onnx`` and ``decoder.onnx``.

    Batch, samples and frames are free: ``wav`` (batch, channels, samples) float32 → ``codes`` (batch, num_codes, ⌈samples / hop⌉) int64 →
    ``wav`` of frames · hop samples. For a lower bitrate set the codes of the last stages to −1. The graphs have neither resampling
    nor masks: give clips of different lengths one by one. Their metadata says sample_rate, channels, hop_samples, num_codes, code_sizes,
    codes_per_stage, rates_kbps (JSON where they are lists) and the model_hash of ``.vqk`` files.

    Args:
        codec: a codec of two networks, a `WaveformCodec`; it is not changed.
        folder: folder for the files; made if it is not there.

    Returns:
        The paths of both.

    Raises:
        ImportError: onnx or onnxscript is not installed.
        ValueError: a codec without networks, or a layer that cannot be exported.
    """
    if not isinstance(codec, WaveformCodec):
        raise ValueError(f"a {type(codec).__name__} has no encoder and decoder to export, as a WaveformCodec has")
    for package in ("onnx", "onnxscript"):
        need(package, "export")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = exportable(codec).float().cpu()
    assert isinstance(whole, WaveformCodec)
    frames = 11  # an example: no other size of the model
    wav, codes = torch.zeros(2, codec.channels, frames * codec.hop_samples - 1), _no_codes(codec, 2, frames)
    samples, batch, time = (torch.export.Dim(name, min=1) for name in ("samples", "batch", "frames"))
    notes = _notes(codec)
    encoder, decoder = folder / "encoder.onnx", folder / "decoder.onnx"
    _export(_Encode(whole.encoder, whole.quantizer), wav, {0: batch, 2: samples}, ("wav", "codes"), notes, encoder)
    _export(_Decode(whole.quantizer, whole.decoder), codes, {0: batch, 2: time}, ("codes", "wav"), notes, decoder)
    return encoder, decoder


def _no_codes(codec: WaveformCodec, batch: int, frames: int) -> Tensor:
    return torch.zeros(batch, len(codec.quantizer.code_sizes), frames, dtype=torch.int64)


def _notes(codec: WaveformCodec) -> dict[str, str]:
    quantizer = codec.quantizer
    return {
        "model": type(codec).__name__,
        "model_hash": weight_hash(codec),
        "sample_rate": str(codec.sample_rate),
        "channels": str(codec.channels),
        "hop_samples": str(codec.hop_samples),
        "num_codes": str(len(quantizer.code_sizes)),
        "code_sizes": json.dumps(list(quantizer.code_sizes)),
        "codes_per_stage": json.dumps(list(quantizer.codes_per_stage)),
        "rates_kbps": json.dumps(list(codec.rates_kbps)),
    }


def _export(
    module: nn.Module,
    example: Tensor,
    free: dict[int, torch.export.Dim],
    names: tuple[str, str],
    notes: dict[str, str],
    path: Path,
) -> None:
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=names[:1],
            output_names=names[1:],
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(notes)
    with NewFile(path) as new:
        program.save(new.temporary)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages that have no part in this, and of its own use of PyTorch."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
