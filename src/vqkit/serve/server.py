"""The page on a port of this machine, with a private folder for its files that goes when it goes."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqkit.models.waveform_codec import WaveformCodec
from vqkit.serve.fragments import CSS
from vqkit.serve.uploads import Limits
from vqkit.types import need

__all__ = ["serving"]

_FOLDER = "GRADIO_TEMP_DIR"
_POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
_SILENT: dict[str, Any] = {  # whatever the environment says
    "share": False,
    "ssr_mode": False,
    "mcp_server": False,
    "pwa": False,
    "run_history": False,
    "enable_monitoring": False,
    "footer_links": [],
    "quiet": True,
    "show_error": False,
}


class _OwnOriginOnly:
    """Tells browsers to fetch nothing from elsewhere, whatever a page asks for."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", _POLICY)]
            await send(message)

        await self._app(scope, receive, send_with_policy)


@contextmanager
def serving(
    codecs: Mapping[str, WaveformCodec],
    limits: Limits | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> Iterator[str]:
    """Serve the page until the ``with`` ends; its files are then gone.

    Args:
        codecs: by the names that the page shows.
        limits: of uploads; the usual ones by default.
        host: address to listen on.
        port: to listen on; by default the first free one from 7860 on.

    Yields:
        The address of the page.

    Raises:
        OSError: the port is taken.
        ValueError: there is no codec.
    """
    limits = limits or Limits()
    before = os.environ.get(_FOLDER)
    with tempfile.TemporaryDirectory(prefix="vqkit-serve-", ignore_cleanup_errors=True) as folder:
        os.environ[_FOLDER] = folder  # gradio's only way to say where uploads go
        gr: Any = need("gradio", "serve")
        middleware: Any = need("starlette.middleware", "serve")
        from vqkit.serve.page import build_page

        page = build_page(codecs, limits, Path(folder))
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=True,
                max_file_size=limits.max_bytes,
                theme=gr.themes.Default(
                    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
                ),
                css=CSS,
                app_kwargs={"middleware": [middleware.Middleware(_OwnOriginOnly)]},
                **_SILENT,
            )
            yield url.rstrip("/")
        finally:
            page.close(verbose=False)
            if before is None:
                os.environ.pop(_FOLDER, None)
            else:
                os.environ[_FOLDER] = before
