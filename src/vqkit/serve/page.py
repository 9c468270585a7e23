"""The page: a tab each from sound and from images to ``.vqk`` and back, and one from ``.vqk`` to what it holds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vqkit.modality import SOUND
from vqkit.models.tokenizer import Tokenizer
from vqkit.serve.folder import FolderFull, PrivateFolder
from vqkit.serve.fragments import safe_text
from vqkit.serve.jobs import decode_job, encode_job, result_bytes
from vqkit.serve.medium import MEDIA, Medium, medium_of
from vqkit.serve.uploads import Limits
from vqkit.serve.worker import JobError, Worker
from vqkit.types import need

gr: Any = need("gradio", "serve")

__all__ = ["build_page"]

_ONE_JOB: Mapping[str, Any] = {"concurrency_limit": 1, "concurrency_id": "codec", "trigger_mode": "once"}
_MOST_WAITING, _MOST_SESSIONS = 16, 256


def build_page(
    models: Mapping[str, Tokenizer], limits: Limits, folder: PrivateFolder, worker: Worker[dict[str, Tokenizer]]
) -> Any:
    """Build the page.

    Args:
        models: models of sound and images, by the names that the page shows.
        limits: limits of uploads.
        folder: folder for the files that it offers; gradio's folder of temporary files.
        worker: process that does the jobs; it holds the models.

    Returns:
        ``gradio.Blocks``; `vqkit.serve.server.serving` launches it.

    Raises:
        ValueError: there is no model.
    """
    if not models:
        raise ValueError("a page needs at least one model")
    media = {medium: {n: m for n, m in models.items() if medium_of(m) is medium} for medium in MEDIA}
    with gr.Blocks(title="vqkit", analytics_enabled=False) as page:
        gr.Markdown(
            "# vqkit\nHear and see what a neural codec makes of a sound or an image. Everything is computed on this server; it takes "
            f"files of at most {limits.max_megabytes:g} MB, {limits.max_seconds:g} s of sound and {limits.max_megapixels:g} megapixels."
        )
        for medium, known in media.items():
            if known:
                with gr.Tab(f"Encode {_a(medium)}"):
                    _encode_tab(medium, known, limits, folder, worker)
        with gr.Tab("Decode a .vqk file"):
            _decode_tab(models, limits, folder, worker)
    page.state_session_capacity = _MOST_SESSIONS
    page.queue(default_concurrency_limit=1, max_size=_MOST_WAITING)
    return page


def _encode_tab(
    medium: Medium,
    models: Mapping[str, Tokenizer],
    limits: Limits,
    folder: PrivateFolder,
    worker: Worker[dict[str, Tokenizer]],
) -> None:
    word, first = medium.modality.word, next(iter(models))
    end = "" if medium.modality is SOUND else f"-{word}"  # of the names of elements and jobs
    if medium.modality is SOUND:
        sources = ["upload", "microphone"]
        source = gr.Audio(label="Sound", type="filepath", sources=sources, buttons=[], elem_id=word)
    else:  # gr.Image would decode the file here, in the server's own process
        source = gr.File(label=word.capitalize(), type="filepath", elem_id=word, height=140)
    with gr.Row():
        model = gr.Dropdown(
            list(models), value=first, label="Model", filterable=False, elem_id=f"model{end}", min_width=300
        )
        rate = gr.Dropdown(
            **_rates(medium, models[first]), label="Rate", filterable=False, elem_id=f"rate{end}", min_width=300
        )
    button = gr.Button("Encode and decode", variant="primary", elem_id=f"encode{end}")
    with gr.Column(visible=False, elem_id=f"encoded{end}") as results:
        notes = gr.HTML()
        numbers = gr.HTML()
        with gr.Row():
            original = _shown(medium, "Original", f"original{end}")
            reconstruction = _shown(medium, "Reconstruction", f"reconstruction{end}")
        download = gr.DownloadButton("Download the .vqk file", elem_id=f"download{end}")
        figures = gr.HTML()

    def encode(path: str | None, name: str, stages: int) -> tuple[Any, ...]:
        if path is None:
            raise ValueError(f"drop {_a(medium)} file first{', or record one' * (medium.modality is SOUND)}")
        sizes = {name: models[name]} if name in models else models
        with folder.result(result_bytes(sizes, limits)) as kept:
            made = worker.run(encode_job, Path(path), kept, name, stages, medium.modality.name, limits)
        files = (str(made.original), str(made.reconstruction), str(made.vqk))
        return (gr.Column(visible=True), made.notes, made.numbers, *files, made.figures)

    model.change(  # through the queue, as all: the gate knows no other way
        lambda name: gr.Dropdown(**_rates(medium, models[name])),
        model,
        rate,
        api_name=f"rates{end.replace('-', '_')}",
        concurrency_limit=None,
        show_progress="hidden",
    )
    button.click(
        _told(encode),
        [source, model, rate],
        [results, notes, numbers, original, reconstruction, download, figures],
        api_name=f"encode{end.replace('-', '_')}",
        show_progress_on=source,
        **_ONE_JOB,
    )


def _decode_tab(
    models: Mapping[str, Tokenizer], limits: Limits, folder: PrivateFolder, worker: Worker[dict[str, Tokenizer]]
) -> None:
    source = gr.File(label=".vqk file", type="filepath", elem_id="vqk", height=140)
    button = gr.Button("Decode", variant="primary", elem_id="decode")
    with gr.Column(visible=False, elem_id="decoded") as results:
        notes = gr.HTML()
        numbers = gr.HTML()
        media = {
            medium.modality: _shown(medium, medium.modality.word.capitalize(), _restored(medium)) for medium in MEDIA
        }
        download = gr.DownloadButton("Download", elem_id="download-decoded")
        figures = gr.HTML()

    def decode(path: str | None) -> tuple[Any, ...]:
        if path is None:
            raise ValueError("drop a .vqk file first")
        with folder.result(result_bytes(models, limits)) as kept:
            made = worker.run(decode_job, Path(path), kept, limits)
        file = str(made.file)
        players = [
            gr.update(value=file, visible=True) if what.name == made.modality else gr.update(value=None, visible=False)
            for what in media
        ]
        button = gr.update(value=file, label=f"Download as {made.file.suffix[1:].upper()}")
        return (gr.Column(visible=True), made.notes, made.numbers, *players, button, made.figures)

    shown = [results, notes, numbers, *media.values(), download, figures]
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


def _rates(medium: Medium, model: Tokenizer) -> dict[str, Any]:
    rates, unit = medium.rates(model), medium.modality.rate_unit
    named = [(f"{rate:.4g} {unit}, {i} of {len(rates)} stages", i) for i, rate in enumerate(rates, start=1)]
    return {"choices": named, "value": len(rates)}


def _shown(medium: Medium, label: str, name: str) -> Any:
    common: dict[str, Any] = {
        "label": label,
        "interactive": False,
        "type": "filepath",
        "elem_id": name,
        "min_width": 280,
    }
    return (gr.Audio if medium.modality.shown == "player" else gr.Image)(buttons=["download"], **common)


def _restored(medium: Medium) -> str:
    return "restored" if medium.modality is SOUND else f"restored-{medium.modality.word}"


def _a(medium: Medium) -> str:
    word = medium.modality.word
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
