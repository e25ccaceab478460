"""The same rounds in fedrec: what a node and the server do, without a wire between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from arrays import answer, read_work, time_rounds

from fedrec.bench.measure import begin, keep_samples
from fedrec.bench.workloads import find_workload
from fedrec.machine import package_version
from fedrec.params import PartialSum
from fedrec.training.node import train_node

work, place = read_work()
federation = begin(find_workload(work.hyper["name"]), len(work.arrays["chosen"]))


first: list[PartialSum] = []


def run(number: int) -> dict[str, Any]:
    """Train one round and apply its mean update; the sum of the first round is kept."""
    clients = work.arrays["clients"][work.arrays["chosen"][number]]
    at = np.searchsorted(federation.clients, clients)
    own = federation.personal.take(at)
    total, after = train_node(federation.setup, federation.shared, own, clients, number + 1)
    for name, value in after.values.items():
        federation.personal.values[name][at] = value
    federation.shared = federation.server.apply(federation.shared, total, number + 1)
    first.append(total)
    del first[1:]
    return {}


keep_samples(federation.setup)
seconds, _ = time_rounds(work, run)
mean = federation.server.mean_update(first[0])
update: dict[str, Any] = {"table": mean.tables["item"].dense(work.hyper["num_items"])}
update |= {f"weights/{name}": value for name, value in mean.weights.items()}
answer(place, seconds, update, {"fedrec": package_version("fedrec") or "source"})
