"""The average of the weights of codecs that were trained on from one another.

    python recipes/average_codecs.py --out runs/average/codec MODEL=0.2 RUN/codec=0.4 OTHER/codec=0.4

Fine-tuned networks that began at the same weights lie in one valley, and the middle of it is better than its sides: what each run learned
is kept, and the noise of its last steps is averaged out.

References:
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time"
    (2022), arXiv:2203.05482.
"""

import argparse
from pathlib import Path

import torch

from vqkit.models import load_codec


@torch.no_grad()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL=SHARE", help="folder or name of a codec, and its share")
    parser.add_argument("--out", type=Path, required=True, help="folder of the average; it has the last model's config")
    asked = parser.parse_args()
    pairs = [model.rpartition("=") for model in asked.models]
    shares = torch.tensor([float(share) for _, _, share in pairs], dtype=torch.float64)
    if not bool((shares > 0).all()):
        raise SystemExit(f"shares must be positive, got {shares.tolist()}")
    codecs = [load_codec(name).float() for name, _, _ in pairs]
    states = [codec.state_dict() for codec in codecs]
    average = {}
    for name, last in states[-1].items():
        if not last.is_floating_point() or any(name not in state for state in states):  # counts of codebooks that learn
            average[name] = last
            continue
        parts = torch.stack([state[name].double() for state in states])
        average[name] = torch.tensordot(shares / shares.sum(), parts, dims=1).to(last.dtype)
    codecs[-1].load_state_dict(average)
    codecs[-1].save_pretrained(asked.out)


if __name__ == "__main__":
    main()
