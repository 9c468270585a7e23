from pathlib import Path

import numpy as np
import pytest
import torch

import vqkit.metrics

PACKAGE = Path(vqkit.metrics.__file__).parent.parent
SPEECH = PACKAGE / "samples" / "speech" / "prompts" / "test" / "ru_vm_savefolder.opus"


@pytest.fixture
def music():
    """(channels, samples) float32 at 24 kHz: decaying tones, a silent stretch and faint noise."""
    time = np.arange(24000) / 24000
    generator = np.random.default_rng(0)
    left = sum(0.2 * np.sin(2 * np.pi * hz * time) * np.exp(-2 * time) for hz in (261.6, 329.6, 392.0))
    right = 0.3 * np.sin(2 * np.pi * 440 * time) * (time < 0.5)
    wave = np.stack([left, right]) + 1e-4 * generator.standard_normal((2, 24000))
    return torch.from_numpy(wave.astype(np.float32))


@pytest.fixture
def noisy(music):
    """The same with noise 30 dB below full scale."""
    return music + 0.03 * torch.randn(music.shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def speech():
    """(1, samples) float32 at 16 kHz, a sentence of two and a half seconds."""
    soundfile = pytest.importorskip("soundfile")
    samples, sample_rate = soundfile.read(SPEECH, dtype="float32")
    assert sample_rate == 16000
    return torch.from_numpy(samples)[None]


@pytest.fixture(scope="session")
def noisy_speech(speech):
    return speech + 0.01 * torch.randn(speech.shape, generator=torch.Generator().manual_seed(1))
