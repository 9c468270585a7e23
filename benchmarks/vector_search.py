"""Nearest neighbours among compressed vectors: vqkit's codes beside FAISS's, with the same codebooks.

    python benchmarks/vector_search.py [--vectors 20000] [--queries 200] [--seed 0]

Correlated Gaussian vectors of 64 dimensions in 64 bits each: product codes, rotated product codes, and a residual with and without a beam.
The search is exact over the decoded vectors, as it is in a flat FAISS index (asymmetric distances). Recall is the share of queries whose
true nearest neighbour is among the first 1, 10 and 100. With faiss installed (pip install faiss-cpu) its index is given the same
codebooks. One core: half a minute.
"""

import argparse

import torch
from torch import Tensor

import vqkit

DIM, PIECES = 64, 8


def drawn(count: int, mixing: Tensor) -> Tensor:
    """Gaussian vectors of a falling spectrum, with their directions mixed over the dimensions."""
    return torch.randn(count, DIM) * torch.linspace(1, 0.1, DIM).square() @ mixing


def search(quantizer: vqkit.Quantizer, codes: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """Places of the nearest decoded vectors of each query."""
    decoded = quantizer.decode(codes[None])[0].float()
    return torch.cdist(queries, decoded).topk(neighbours, largest=False).indices


def recall(found: Tensor, true: Tensor) -> dict[int, float]:
    """Share of queries whose nearest neighbour is among the first so many."""
    return {n: float((found[:, :n] == true[:, None]).any(dim=1).float().mean()) for n in (1, 10, 100)}


def of_faiss(quantizer: vqkit.PVQ, vectors: Tensor, queries: Tensor) -> tuple[Tensor, Tensor] | None:
    """Codes and neighbours of a flat product index with the codebooks of ours."""
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexPQ(DIM, PIECES, 8)
    faiss.copy_array_to_vector(torch.cat(quantizer.codebooks).flatten().numpy(), index.pq.centroids)
    index.is_trained = True
    index.add(vectors.numpy())
    codes = torch.from_numpy(faiss.vector_to_array(index.codes).reshape(len(vectors), PIECES)).long()
    return codes, torch.from_numpy(index.search(queries.numpy(), 100)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    mixing = torch.linalg.qr(torch.randn(DIM, DIM)).Q
    vectors, queries = drawn(asked.vectors, mixing), drawn(asked.queries, mixing)
    true = torch.cdist(queries, vectors).argmin(dim=1)
    product = vqkit.PVQ(DIM, 256, PIECES)
    equal: Tensor | None = None
    systems: dict[str, vqkit.Quantizer] = {
        "PVQ(64, 256, 8)": product,
        "Rotated(PVQ(64, 256, 8))": vqkit.Rotated(vqkit.PVQ(DIM, 256, PIECES)),
        "RVQ(64, 256, 8)": vqkit.RVQ(DIM, 256, PIECES),
        "RVQ(64, 256, 8, beam=8)": vqkit.RVQ(DIM, 256, PIECES, beam=8),
    }
    print("| codes | bits | recall@1 | recall@10 | recall@100 |\n| --- | ---: | ---: | ---: | ---: |")
    for name, quantizer in systems.items():
        quantizer.fit(vectors).eval()
        codes = quantizer.encode(vectors[None])[0]
        print(row(name, quantizer.bits_per_vector, recall(search(quantizer, codes, queries, 100), true)))
        if quantizer is product and (theirs := of_faiss(product, vectors, queries)) is not None:
            equal = (theirs[0] == codes).float().mean()
            print(row("FAISS IndexPQ, the same codebooks", 64, recall(theirs[1], true)))
    if equal is not None:
        print(f"\nFAISS's codes equal ours in {float(equal):.4%} of the positions.")


def row(name: str, bits: float, found: dict[int, float]) -> str:
    """One row of the table."""
    return f"| {name} | {bits:g} | " + " | ".join(f"{share:.3f}" for share in found.values()) + " |"


if __name__ == "__main__":
    main()
