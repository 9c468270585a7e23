"""Log-mel spectrograms, drawn with one range of dB so that an original and its reconstructions can be compared by eye."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vqkit.report.figures import png_bytes
from vqkit.types import Float, need

__all__ = ["draw_spectrogram", "mel_power_db", "read_audio", "spectrogram_png"]

FLOOR_DB = -100.0
MELS = 80


def read_audio(path: Path | str) -> tuple[Float[np.ndarray, "samples channels"], int]:
    """Return the samples of an audio file, in [−1, 1], and its sample rate in Hz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no audio that libsndfile can read.
    """
    soundfile = need("soundfile", "audio")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist, though results.json names it")
    try:
        samples, sample_rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} is not readable as audio: {error}") from None
    return samples, sample_rate


def mel_power_db(
    samples: Float[np.ndarray, "samples channels"], sample_rate: int, frames: int = 500
) -> Float[np.ndarray, "mels frames"]:
    """Return the power in 80 mel bands, in dB; 0 dB is a full-scale sine in the middle of a band.

    Args:
        samples: samples in [−1, 1]; the power is the mean over channels.
        sample_rate: sample rate in Hz.
        frames: about the most frames to return; long clips get longer hops.

    Returns:
        Decibels, at least −100.

    Example:
        >>> sine = np.sin(2 * np.pi * 1000 / 16000 * np.arange(16000))[:, None]
        >>> bands = mel_power_db(sine, 16000)
        >>> bool(-6 < bands.max() < 3)
        True
    """
    size = 2 ** round(math.log2(0.05 * sample_rate))
    hop = max(size // 4, -(-len(samples) // frames))
    padded = np.pad(samples, ((size // 2, size // 2 + hop), (0, 0)))
    window = np.hanning(size + 1)[:-1]
    starts = np.arange(0, len(samples) + 1, hop)
    chunks = padded[starts[:, None] + np.arange(size)] * window[:, None]
    power = (np.abs(np.fft.rfft(chunks, axis=1)) ** 2).mean(axis=2) / (window.sum() / 2) ** 2
    mel = power @ _mel_bands(size, sample_rate).T
    return np.maximum(10 * np.log10(np.maximum(mel, 1e-20)), FLOOR_DB).T


def spectrogram_png(path: Path | str, peak_db: float | None = None, range_db: float = 80.0) -> bytes:
    """Draw the log-mel spectrogram of an audio file.

    Args:
        path: path of the audio file.
        peak_db: the brightest value; by default the loudest of this file. Give that of the original to all its reconstructions.
        range_db: the darkest value lies so far below ``peak_db``.

    Returns:
        A PNG file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no audio, or ``range_db`` is not positive.
    """
    return draw_spectrogram(*read_audio(path), peak_db, range_db)


def draw_spectrogram(
    samples: Float[np.ndarray, "samples channels"],
    sample_rate: int,
    peak_db: float | None = None,
    range_db: float = 80.0,
    width_inches: float = 4.0,
    dpi: int = 110,
) -> bytes:
    r"""Draw the log-mel spectrogram of samples.

    Args:
        samples: samples in [−1, 1].
        sample_rate: sample rate in Hz.
        peak_db: the brightest value; by default the loudest here.
        range_db: the darkest value lies so far below ``peak_db``.
        width_inches: width of the picture; letters keep their size in inches.
        dpi: pixels an inch.

    Returns:
        A PNG file.

    Raises:
        ValueError: ``range_db`` is not positive.

    Example:
        >>> draw_spectrogram(np.zeros((1600, 1), np.float32), 16000)[:4]
        b'\x89PNG'
    """
    if range_db <= 0:
        raise ValueError(f"range_db is {range_db}, must be positive")
    bands = mel_power_db(samples, sample_rate)
    peak_db = float(bands.max()) if peak_db is None else peak_db
    figure = Figure(figsize=(width_inches, 1.7), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    axes = figure.subplots()
    seconds = len(samples) / sample_rate
    extent = (0.0, max(seconds, 1e-3), 0.0, _hz_to_mel(sample_rate / 2))
    axes.imshow(
        bands,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=peak_db - range_db,
        vmax=peak_db,
        interpolation="nearest",
    )
    ticks = [hz for hz in (0, 1000, 2000, 4000, 8000, 16000) if hz <= sample_rate / 2]
    axes.set_yticks([_hz_to_mel(hz) for hz in ticks], [f"{hz / 1000:g}" for hz in ticks])
    axes.set_ylabel("kHz", fontsize=9.5)
    axes.tick_params(labelsize=9.5, length=2, pad=2)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g} s"))
    axes.spines[:].set_visible(False)
    return png_bytes(figure, dpi=dpi, crop=False)


def _hz_to_mel(hz: float) -> float:
    return 2595 * math.log10(1 + hz / 700)


def _mel_bands(size: int, sample_rate: int) -> Float[np.ndarray, "mels bins"]:
    edges = 700 * (10 ** (np.linspace(0, _hz_to_mel(sample_rate / 2), MELS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / sample_rate)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
