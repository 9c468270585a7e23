"""A page on which one drops a sound, hears and sees what a codec makes of it, and takes the ``.vqk`` file home.

    a dropped file ─ uploads ─ transcode ─┬─ numbers, pictures ─┐
    a .vqk file ──── uploads ─ restore ───┴─ sound ─────────────┴─ page ─ server ─ vqkit serve

`vqkit.serve.transcode` needs no web framework. Nothing is sent to anyone: the page comes whole from this machine.
"""

import os

from vqkit.types import need

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio looks at it when it is imported

for _package in ("torchmetrics", "matplotlib", "PIL", "rich", "jinja2"):
    need(_package, "eval")
for _package in ("soundfile", "soxr", "av", "constriction"):
    need(_package, "audio")
