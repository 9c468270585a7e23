"""A page on which one drops a sound, hears and sees what a codec makes of it, and takes the ``.vqk`` file home.

    browser ─ gate ─┬─ page ─ worker ║ jobs ─ uploads ─┬─ transcode ─┬─ numbers, sounds, pictures
    (hosts, limits) └─ folder        ║                 └─ restore ───┘

What stands right of ║ is done in a process of its own and needs no web framework. Nothing is sent to anyone: the page comes whole from this
machine. What strangers may do to it, and what not, is said in SECURITY.md.
"""

import os

from vqkit.types import check_installed

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio looks at it when it is imported

for _package in ("torchmetrics", "matplotlib", "PIL", "rich", "jinja2"):
    check_installed(_package, "eval")
for _package in ("soundfile", "soxr", "av", "constriction"):
    check_installed(_package, "audio")
