"""FedAvg in Flower's Ray simulation, with a plain Keras model on each client.

A supernode is one of the clients of a round; which client it plays in which round comes
with the exported workload, so that nothing has to be drawn.  A client that comes back on
another supernode begins with its first vector again: that costs no less time.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from arrays import answer, read_work
from flower_client import client_app
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

server_app = ServerApp()


class AllOrNothing(FedAvg):
    """FedAvg that stops when a client fails; Flower's goes on without it."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Average the replies, weighted by samples."""
        replies = list(replies)
        failed = [reply.error.reason for reply in replies if reply.has_error()]
        if failed:
            raise RuntimeError(f"{len(failed)} clients failed: {failed[0]}")
        return super().aggregate_train(server_round, replies)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds, and keep their seconds and the first update."""
    work, place = read_work()
    names = ["table"]
    for layer in work.layers:
        names += [f"weights/{layer}/kernel", f"weights/{layer}/bias"]
    clients = work.arrays["chosen"].shape[1]
    while len(list(grid.get_node_ids())) < clients:
        time.sleep(0.1)
    current = ArrayRecord({str(i): Array(work.arrays[n]) for i, n in enumerate(names)})
    seconds, first = [], {}
    for number in range(work.rounds):
        strategy = AllOrNothing(
            fraction_train=1.0,
            fraction_evaluate=0.0,
            min_train_nodes=clients,
            min_available_nodes=clients,
        )
        cohort = number % len(work.arrays["chosen"])
        told = ConfigRecord({"round": cohort, "file": os.path.abspath(sys.argv[1])})
        begin = time.perf_counter()
        done = strategy.start(grid, current, num_rounds=1, train_config=told)
        seconds.append(time.perf_counter() - begin)
        if number == 0:
            for name, new, old in zip(names, done.arrays.values(), current.values(), strict=True):
                first[name] = new.numpy().astype(float) - old.numpy()
        current = done.arrays
    answer(place, seconds, first, {name: version(name) for name in ("flwr", "ray", "tensorflow")})


if __name__ == "__main__":
    work = read_work()[0]
    run_simulation(
        server_app,
        client_app,
        num_supernodes=work.arrays["chosen"].shape[1],
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
