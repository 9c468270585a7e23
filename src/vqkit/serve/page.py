"""The page: one tab from sound to ``.vqk`` and back, one from ``.vqk`` to sound."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.serve.folder import FolderFull, PrivateFolder
from vqkit.serve.fragments import safe_text
from vqkit.serve.jobs import decode_job, encode_job, result_bytes
from vqkit.serve.uploads import Limits
from vqkit.serve.worker import JobError, Worker
from vqkit.types import need

gr: Any = need("gradio", "serve")

__all__ = ["build_page"]

_ONE_JOB: Mapping[str, Any] = {"concurrency_limit": 1, "concurrency_id": "codec", "trigger_mode": "once"}
_MOST_WAITING, _MOST_SESSIONS = 16, 256


def build_page(
    codecs: Mapping[str, WaveformCodec], limits: Limits, folder: PrivateFolder, worker: Worker[dict[str, WaveformCodec]]
) -> Any:
    """Build the page.

    Args:
        codecs: by the names that the page shows.
        limits: of uploads.
        folder: for the files that it offers; gradio's folder of temporary files.
        worker: does the jobs; it holds the codecs.

    Returns:
        ``gradio.Blocks``; `vqkit.serve.server.serving` launches it.

    Raises:
        ValueError: there is no codec.
    """
    if not codecs:
        raise ValueError("a page needs at least one codec")
    with gr.Blocks(title="vqkit", analytics_enabled=False) as page:
        gr.Markdown(
            "# vqkit\nHear and see what a neural codec makes of a sound. Everything is computed on this server; it takes files of "
            f"at most {limits.max_megabytes:g} MB, and {limits.max_seconds:g} s of sound."
        )
        with gr.Tab("Encode a sound"):
            _encode_tab(codecs, limits, folder, worker)
        with gr.Tab("Decode a .vqk file"):
            _decode_tab(codecs, limits, folder, worker)
    page.state_session_capacity = _MOST_SESSIONS
    page.queue(default_concurrency_limit=1, max_size=_MOST_WAITING)
    return page


def _encode_tab(
    codecs: Mapping[str, WaveformCodec], limits: Limits, folder: PrivateFolder, worker: Worker[dict[str, WaveformCodec]]
) -> None:
    first = next(iter(codecs))
    sources = ["upload", "microphone"]
    source = gr.Audio(label="Sound", type="filepath", sources=sources, buttons=[], elem_id="sound")
    with gr.Row():
        model = gr.Dropdown(list(codecs), value=first, label="Model", filterable=False, elem_id="model", min_width=300)
        rate = gr.Dropdown(**_rates(codecs[first]), label="Bitrate", filterable=False, elem_id="rate", min_width=300)
    button = gr.Button("Encode and decode", variant="primary", elem_id="encode")
    with gr.Column(visible=False, elem_id="encoded") as results:
        notes = gr.HTML()
        numbers = gr.HTML()
        with gr.Row():
            original = _player("Original", "original")
            reconstruction = _player("Reconstruction", "reconstruction")
        download = gr.DownloadButton("Download the .vqk file", elem_id="download")
        figures = gr.HTML()

    def encode(path: str | None, name: str, stages: int) -> tuple[Any, ...]:
        if path is None:
            raise ValueError("drop a sound file first, or record one")
        with folder.result(result_bytes(codecs, limits)) as kept:
            made = worker.run(encode_job, Path(path), kept, name, stages, limits)
        files = (str(made.original), str(made.reconstruction), str(made.vqk))
        return (gr.Column(visible=True), made.notes, made.numbers, *files, made.figures)

    model.change(  # through the queue, as all: the gate knows no other way
        lambda name: gr.Dropdown(**_rates(codecs[name])),
        model,
        rate,
        api_name="rates",
        concurrency_limit=None,
        show_progress="hidden",
    )
    shown = [results, notes, numbers, original, reconstruction, download, figures]
    button.click(_told(encode), [source, model, rate], shown, api_name="encode", show_progress_on=source, **_ONE_JOB)


def _decode_tab(
    codecs: Mapping[str, WaveformCodec], limits: Limits, folder: PrivateFolder, worker: Worker[dict[str, WaveformCodec]]
) -> None:
    source = gr.File(label=".vqk file", type="filepath", elem_id="vqk", height=140)
    button = gr.Button("Decode", variant="primary", elem_id="decode")
    with gr.Column(visible=False, elem_id="decoded") as results:
        notes = gr.HTML()
        numbers = gr.HTML()
        sound = _player("Sound", "restored")
        download = gr.DownloadButton("Download as WAV", elem_id="download-wav")
        figures = gr.HTML()

    def decode(path: str | None) -> tuple[Any, ...]:
        if path is None:
            raise ValueError("drop a .vqk file first")
        with folder.result(result_bytes(codecs, limits)) as kept:
            made = worker.run(decode_job, Path(path), kept, limits)
        return (gr.Column(visible=True), made.notes, made.numbers, str(made.sound), str(made.sound), made.figures)

    shown = [results, notes, numbers, sound, download, figures]
    button.click(_told(decode), source, shown, api_name="decode", show_progress_on=source, **_ONE_JOB)


def _told(work: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """The same work; why it has no result is one line in the page, and the input is removed."""

    def job(path: str | None, *settings: Any) -> tuple[Any, ...]:
        try:
            return work(path, *settings)
        except (ValueError, OSError, JobError, FolderFull) as error:
            if path is not None:
                Path(path).unlink(missing_ok=True)
            line = (str(error).splitlines() or ["failed"])[0]
            raise gr.Error(safe_text(line), print_exception=False, title="Not possible") from None

    return job


def _rates(codec: WaveformCodec) -> dict[str, Any]:
    rates = codec.rates_kbps
    named = [(f"{rate:.4g} kbit/s, {i} of {len(rates)} stages", i) for i, rate in enumerate(rates, start=1)]
    return {"choices": named, "value": len(rates)}


def _player(label: str, name: str) -> Any:
    return gr.Audio(label=label, interactive=False, type="filepath", buttons=["download"], elem_id=name, min_width=280)
