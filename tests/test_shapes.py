"""The shapes in the signatures are true: every quantizer and the frame codec run with jaxtyping checking each call."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = sys.argv[1:]
from jaxtyping import install_import_hook
with install_import_hook(["vqkit.quantize", "vqkit.models.audio.frames"], "shape_checker.checked"):
    import vqkit.quantize
    import vqkit.models.audio.frames
import torch
from test_contract import LAYOUTS, SYSTEMS, latents, padding
for layout in LAYOUTS:
    for name, make in SYSTEMS.items():
        quantizer = make(len(LAYOUTS[layout]))
        z = latents(layout, batch=4)
        quantizer.fit(z, iterations=1)
        mask = padding(layout, batch=4)
        quantizer.train()(z, mask).loss
        quantizer.eval()
        quantizer.decode(quantizer.encode(z.to(torch.bfloat16), mask))
codec = vqkit.models.audio.frames.FrameCodec(vqkit.quantize.VQ(24, 8)).fit([torch.randn(4800)])
codec.decode(codec.encode(torch.randn(2, 1, 480)), samples=480)
from vqkit.quantize.search import nearest
try:
    nearest(torch.zeros(3, 4), torch.zeros(5, 6))
except Exception as error:
    print(type(error).__name__)
"""


def test_signatures_tell_the_truth():
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(here), str(here / "quantize")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "TypeCheckError"
