"""The page: one tab from sound to ``.vqk`` and back, one from ``.vqk`` to sound."""

import tempfile
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from vqkit.data import Waveform, write_audio
from vqkit.models.waveform_codec import WaveformCodec
from vqkit.serve.fragments import numbers_table, restored_figures, transcoded_figures
from vqkit.serve.transcode import restore, transcode
from vqkit.serve.uploads import Limits
from vqkit.types import need

gr: Any = need("gradio", "serve")

__all__ = ["build_page"]

_ONE_JOB: Mapping[str, Any] = {"concurrency_limit": 1, "concurrency_id": "codec", "trigger_mode": "once"}
_CLEAN_SECONDS, _KEEP_SECONDS = 300, 3600  # how often old files are removed, and how old they may get


def build_page(codecs: Mapping[str, WaveformCodec], limits: Limits, folder: Path) -> Any:
    """Build the page.

    Args:
        codecs: by the names that the page shows.
        limits: of uploads.
        folder: for the files that it offers; it must lie in gradio's folder of temporary files.

    Returns:
        ``gradio.Blocks``; `vqkit.serve.server.serving` launches it.

    Raises:
        ValueError: there is no codec.
    """
    if not codecs:
        raise ValueError("a page needs at least one codec")
    with gr.Blocks(title="vqkit", analytics_enabled=False, delete_cache=(_CLEAN_SECONDS, _KEEP_SECONDS)) as page:
        gr.Markdown(
            "# vqkit\nHear and see what a neural codec makes of a sound. Everything is computed on this server; it takes files of "
            f"at most {limits.max_megabytes:g} MB, and {limits.max_seconds:g} s of sound."
        )
        with gr.Tab("Encode a sound"):
            _encode_tab(codecs, limits, folder)
        with gr.Tab("Decode a .vqk file"):
            _decode_tab(codecs, limits, folder)
    page.queue(default_concurrency_limit=1, max_size=16)
    return page


def _encode_tab(codecs: Mapping[str, WaveformCodec], limits: Limits, folder: Path) -> None:
    first = next(iter(codecs))
    sources = ["upload", "microphone"]
    source = gr.Audio(label="Sound", type="filepath", sources=sources, buttons=[], elem_id="sound")
    with gr.Row():
        model = gr.Dropdown(list(codecs), value=first, label="Model", filterable=False, elem_id="model", min_width=300)
        rate = gr.Dropdown(**_rates(codecs[first]), label="Bitrate", filterable=False, elem_id="rate", min_width=300)
    button = gr.Button("Encode and decode", variant="primary", elem_id="encode")
    with gr.Column(visible=False, elem_id="encoded") as results:
        numbers = gr.HTML()
        with gr.Row():
            original = _player("Original", "original")
            reconstruction = _player("Reconstruction", "reconstruction")
        download = gr.DownloadButton("Download the .vqk file", elem_id="download")
        figures = gr.HTML()

    def encode(path: str | None, name: str, stages: int) -> tuple[Any, ...]:
        if path is None:
            raise ValueError("drop a sound file first, or record one")
        codec = codecs[name]
        made = transcode(Path(path), codec, codec.rates_kbps[stages - 1], limits)
        kept = _kept(folder)
        (kept / "sound.vqk").write_bytes(made.vqk)
        sounds = [_wav(kept / "original.wav", made.original), _wav(kept / "reconstruction.wav", made.reconstruction)]
        return (
            gr.Column(visible=True),
            numbers_table(made.numbers),
            *sounds,
            str(kept / "sound.vqk"),
            transcoded_figures(made),
        )

    model.change(lambda name: gr.Dropdown(**_rates(codecs[name])), model, rate, queue=False, api_name="rates")
    shown = [results, numbers, original, reconstruction, download, figures]
    button.click(_told(encode), [source, model, rate], shown, api_name="encode", show_progress_on=source, **_ONE_JOB)


def _decode_tab(codecs: Mapping[str, WaveformCodec], limits: Limits, folder: Path) -> None:
    source = gr.File(label=".vqk file", type="filepath", elem_id="vqk", height=140)
    button = gr.Button("Decode", variant="primary", elem_id="decode")
    with gr.Column(visible=False, elem_id="decoded") as results:
        note = gr.Markdown()
        numbers = gr.HTML()
        sound = _player("Sound", "restored")
        download = gr.DownloadButton("Download as WAV", elem_id="download-wav")
        figures = gr.HTML()

    def decode(path: str | None) -> tuple[Any, ...]:
        if path is None:
            raise ValueError("drop a .vqk file first")
        made = restore(Path(path), codecs, limits)
        wav = _wav(_kept(folder) / "sound.wav", made.reconstruction)
        written = "  \n".join([f"Written by {escape(made.model)}.", *(f"Damaged: {escape(w)}." for w in made.warnings)])
        return gr.Column(visible=True), written, numbers_table(made.numbers), wav, wav, restored_figures(made)

    shown = [results, note, numbers, sound, download, figures]
    button.click(_told(decode), source, shown, api_name="decode", show_progress_on=source, **_ONE_JOB)


def _told(work: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """The same work; what is wrong with the input is one line in the page, and the input is removed."""

    def job(path: str | None, *settings: Any) -> tuple[Any, ...]:
        try:
            return work(path, *settings)
        except (ValueError, TypeError, OSError) as error:
            if path is not None:
                Path(path).unlink(missing_ok=True)
            line = (str(error).splitlines() or ["failed"])[0]
            raise gr.Error(escape(line, quote=False), print_exception=False, title="Not possible") from None

    return job


def _rates(codec: WaveformCodec) -> dict[str, Any]:
    rates = codec.rates_kbps
    named = [(f"{rate:.4g} kbit/s, {i} of {len(rates)} stages", i) for i, rate in enumerate(rates, start=1)]
    return {"choices": named, "value": len(rates)}


def _player(label: str, name: str) -> Any:
    return gr.Audio(label=label, interactive=False, type="filepath", buttons=["download"], elem_id=name, min_width=280)


def _kept(folder: Path) -> Path:
    """A new folder, under a name that nobody chose."""
    return Path(tempfile.mkdtemp(dir=folder))


def _wav(path: Path, wave: Waveform) -> str:
    write_audio(path, wave.samples, wave.sample_rate)
    return str(path)
