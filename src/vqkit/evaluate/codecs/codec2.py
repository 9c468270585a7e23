"""Codec2, a speech codec for radio, by its own programs ``c2enc`` and ``c2dec``.

References:
    Rowe, Codec 2, https://www.rowetel.com/codec2.html; the delay is read off ``codec2.c``: the analysis window lies two subframes back.
"""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqkit.evaluate.codecs.coded import Coded, checked_mono, fit_length
from vqkit.models.audio.resampling import resample
from vqkit.types import Float

__all__ = ["Codec2"]

_RATE = 8000
_MODES = {3.2: "3200", 2.4: "2400", 1.6: "1600", 1.2: "1200", 0.7: "700C"}
_DELAY_SAMPLES = {"3200": 160, "2400": 160, "1600": 160, "1200": 160, "700C": 240}
_FRAME_SAMPLES = {"3200": 160, "2400": 160, "1600": 320, "1200": 320, "700C": 320}
_HEADER_BYTES = 7  # of a .c2 file: magic number, version, mode, flags


@dataclass(frozen=True)
class Codec2:
    """Codec2 at one of its rates; speech of 8 kHz, so that everything above 4 kHz is lost.

    Args:
        kbps: 3.2, 2.4, 1.6, 1.2 or 0.7 kbit/s.

    Raises:
        ValueError: another rate.
    """

    kbps: float

    family = "Codec2"

    def __post_init__(self) -> None:
        if self.kbps not in _MODES:
            raise ValueError(f"kbps of Codec2 must be one of {', '.join(map(str, _MODES))}, got {self.kbps:g}")

    @staticmethod
    def installed() -> bool:
        """Return whether ``c2enc`` and ``c2dec`` are installed."""
        return shutil.which("c2enc") is not None and shutil.which("c2dec") is not None

    @property
    def name(self) -> str:
        """Name of the system in tables and plots."""
        return f"Codec2 {self.kbps:g} kbps"

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""
        return {"encoder": "c2enc", "mode": _MODES[self.kbps], "sample_rate": _RATE}

    def code(self, wav: Float[Tensor, "1 samples"], sample_rate: int) -> Coded:
        """See `System.code`.

        Raises:
            ImportError: the programs are not installed.
            ValueError: wav is not mono, or empty.
        """
        if not self.installed():
            raise ImportError("c2enc and c2dec are not installed: apt install codec2")
        wav, mode = checked_mono(wav), _MODES[self.kbps]
        narrow = resample(wav[None], sample_rate, _RATE)[0, 0].double().numpy()
        # the programs drop what does not fill a frame, and the delay keeps back the end
        behind = _DELAY_SAMPLES[mode] + -(len(narrow) + _DELAY_SAMPLES[mode]) % _FRAME_SAMPLES[mode]
        padded = np.pad(narrow, (0, behind))
        pcm = np.clip(np.rint(padded * 32768), -32768, 32767).astype("<i2").tobytes()
        packets = _run("c2enc", mode, pcm)
        decoded = np.frombuffer(_run("c2dec", mode, packets), "<i2")[_DELAY_SAMPLES[mode] :] / 32768
        heard = fit_length(torch.from_numpy(decoded[None].astype(np.float32)), len(narrow))
        back = resample(heard[None], _RATE, sample_rate)[0]
        return Coded(fit_length(back, wav.shape[1]), len(packets), len(packets) + _HEADER_BYTES)


def _run(program: str, mode: str, data: bytes) -> bytes:
    """Run a program on ``data`` as standard input and return its standard output."""
    done = subprocess.run([program, mode, "-", "-"], input=data, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(f"{program} {mode} failed: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout
