"""A file of an FFmpeg codec, written and read in memory, with the sizes of its packets."""

import io
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vqkit.evaluate.codecs.coded import Coded, checked_mono, fit_length
from vqkit.models.audio.resampling import resample
from vqkit.types import Float, need

__all__ = ["code_in_file"]


def code_in_file(
    wav: Float[Tensor, "1 samples"],
    sample_rate: int,
    *,
    codec: str,
    container: str,
    rates: tuple[int, ...],
    kbps: float,
    options: Mapping[str, str],
) -> Coded:
    """Encode into a container and decode it again.

    The container says what the encoder put before the first sample and after the last (Opus: pre-skip and granule position, RFC 7845;
    MP3: LAME's tag), and FFmpeg cuts both off, so the result is aligned.

    Args:
        wav: mono waveform.
        sample_rate: sample rate of wav, in Hz.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the file format.
        rates: sample rates that the encoder takes, rising; wav goes in at its own rate, or at the next higher one, or at the highest.
        kbps: bitrate asked for.
        options: options of the encoder.

    Returns:
        The decoded waveform at ``sample_rate``, the bytes of the packets and those of the file.

    Raises:
        ValueError: wav is not mono or empty, or FFmpeg was built without the encoder.
    """
    av = need("av", "audio")
    wav = checked_mono(wav)
    codec_rate = next((rate for rate in rates if rate >= sample_rate), rates[-1])
    given = resample(wav[None], sample_rate, codec_rate)[0].numpy()
    file, packet_bytes = io.BytesIO(), 0
    try:
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(codec, rate=codec_rate, options=dict(options), layout="mono")
            stream.bit_rate = round(kbps * 1000)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(given), format="fltp", layout="mono")
            frame.sample_rate = codec_rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                packet_bytes += packet.size
                output.mux(packet)
    except av.codec.codec.UnknownCodecError:
        raise ValueError(f"FFmpeg in the package av was built without {codec}") from None
    with av.open(io.BytesIO(file.getvalue())) as source:
        frames = list(source.decode(audio=0))
    decoded = torch.from_numpy(np.concatenate([frame.to_ndarray() for frame in frames], axis=1))
    back = resample(decoded[None], frames[0].sample_rate, sample_rate)[0]
    return Coded(fit_length(back, wav.shape[1]), packet_bytes, len(file.getvalue()))
