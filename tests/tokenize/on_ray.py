"""A corpus tokenized on a Ray cluster of two nodes, in a process of its own: Ray leaves handlers and threads behind."""

import json
import signal
import sys

import ray
from hashing import DyingEncoder
from ray.cluster_utils import Cluster

from vqkit.tokenize import TokenizeColumn, TokenizeSettings, tokenize
from vqkit.tokenize.ray_run import RayRunner


def main(folder, target, mark, *sounds):
    """Tokenize with an encoder that lets one worker die; then a column of sounds, whose codes are printed."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    settings = TokenizeSettings(("parquet", "webdataset"), 4)
    encoder = DyingEncoder(name="0007.wav", mark=mark)
    asked_to_end = signal.getsignal(signal.SIGTERM)
    try:
        tokenize(folder, target, lambda kinds: encoder, settings, runner=RayRunner(cluster.address, 2))
        assert signal.getsignal(signal.SIGTERM) is asked_to_end  # Ray would put its own
        column = {"fn_constructor_args": ("audio",), "fn_constructor_kwargs": {"stages": 1}, "concurrency": 1}
        rows = ray.data.from_items([{"audio": path} for path in sounds])
        found = rows.map_batches(TokenizeColumn, batch_format="numpy", **column).take_all()
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps([[int(code) for code in row["codes"]] for row in found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
