"""Choice of the metrics that judge a codec by the kind of sound: models of listeners of speech judge no music."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from vqkit.metrics import (
    DNSMOS,
    KLD,
    LSD,
    PESQ,
    SISDR,
    STOI,
    F0Correlation,
    MelDistance,
    ReconstructionMetric,
    SpeakerSimilarity,
    ViSQOL,
    VoicingAgreement,
    XVectorEmbedder,
)
from vqkit.report.results import Protocol

__all__ = ["KINDS", "listeners", "protocols_of"]

KINDS = ("speech", "music")
_TITLES = {
    "pesq": "PESQ",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "f0_correlation": "F0 correlation",
    "visqol": "ViSQOL",
    "dnsmos": "DNSMOS",
    "lsd": "LSD",
    "si_sdr": "SI-SDR",
    "kld_vqkit_sounds": "KLD vqkit sounds",
}


@lru_cache(maxsize=8)
def listeners(
    kind: str, sample_rate: int, thorough: bool = True, speaker_model: Path | None = None
) -> dict[str, ReconstructionMetric]:
    """The metrics by name, the most telling first.

    Args:
        kind: ``"speech"`` or ``"music"``.
        sample_rate: sample rate of the waveforms, in Hz.
        thorough: whether to use also ESTOI, ViSQOL, DNSMOS and the speaker, the last three of which take a second or more a clip;
            without them PESQ and STOI are left out where their packages are not installed.
        speaker_model: local folder of an x-vector network, see `vqkit.metrics.XVectorEmbedder`; None leaves the speaker out.

    Returns:
        Metrics that hold nothing yet; the same objects for the same arguments.

    Raises:
        ValueError: another kind.
        ImportError: a package of the extra ``perceptual`` is not installed.

    Example:
        >>> [*listeners("music", 16000, thorough=False)]
        ['mel_distance', 'lsd', 'si_sdr', 'kld_vqkit_sounds']
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    found: list[ReconstructionMetric] = []
    if kind == "speech":
        if thorough or find_spec("pesq"):
            found.append(PESQ(sample_rate))
        if thorough or find_spec("pystoi"):
            found.append(STOI(sample_rate))
        if thorough:
            found.append(STOI(sample_rate, extended=True))
        found += [F0Correlation(sample_rate), VoicingAgreement(sample_rate)]
    if thorough:
        found.append(ViSQOL(sample_rate, mode="speech" if kind == "speech" else "audio"))
    if thorough and kind == "speech":
        found.append(DNSMOS(sample_rate))
        if speaker_model is not None:
            found.append(SpeakerSimilarity(XVectorEmbedder(speaker_model, sample_rate)))
    found += [MelDistance(sample_rate), LSD(), SISDR(), KLD(sample_rate=sample_rate)]
    return {metric.name: metric for metric in found}


def protocols_of(metrics: dict[str, ReconstructionMetric]) -> dict[str, Protocol]:
    """Return the protocol of each metric, as reports show it."""
    protocols = {}
    for key, metric in metrics.items():
        told = metric.protocol
        name = _TITLES.get(key, key.replace("_", " "))
        protocols[key] = Protocol(name, told["unit"], told["better"], told["description"], told["settings"])
    return protocols
