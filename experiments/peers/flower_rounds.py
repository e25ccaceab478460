"""FedAvg in Flower's Ray simulation, with a plain Keras model on each client.

A supernode is one of the clients of a round; which client it plays in which round comes
with the exported workload, so that nothing has to be drawn.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from importlib.metadata import version
from typing import Any

import numpy as np
from arrays import Work, answer, read_file, read_work
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

client_app = ClientApp()
kept: dict[str, Any] = {}


def work_here(file: str) -> Work:
    """Return the workload, read once in each worker."""
    if "work" not in kept:
        kept["work"] = read_file(file, 0)
    return kept["work"]


def model_here(work: Work) -> Any:
    """Return the compiled Keras model of a worker; its weights are set before each use."""
    import tensorflow as tf

    keras = tf.keras
    if "model" in kept:
        return kept["model"]
    hyper, dim = work.hyper, work.hyper["dim"]
    item, one = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    rows = keras.layers.Embedding(hyper["num_items"], dim, name="table")(item)
    own = keras.layers.Embedding(1, dim, name="own")(one)
    if work.layers:
        x = keras.layers.Concatenate()([own, rows])
        for number, layer in enumerate(work.layers):
            last = number == len(work.layers) - 1
            width = work.arrays[f"weights/{layer}/bias"].shape[0]
            x = keras.layers.Dense(width, activation=None if last else "relu", name=layer)(x)
    else:
        x = keras.layers.Dot(axes=-1)([own, rows])
    model = keras.Model([item, one], x)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(hyper["lr"]), loss)
    kept["model"] = model
    return model


def weights_of(model: Any, work: Work) -> list[Any]:
    """Return the variables that the server holds, in the order of the arrays record."""
    found = [model.get_layer("table").embeddings]
    for layer in work.layers:
        found += [model.get_layer(layer).kernel, model.get_layer(layer).bias]
    return found


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train one client for an epoch."""
    work = work_here(str(message.content["config"]["file"]))
    model = model_here(work)
    number = int(message.content["config"]["round"])
    client = int(work.arrays["chosen"][number][int(context.node_config["partition-id"])])
    shared = weights_of(model, work)
    for variable, array in zip(shared, message.content["arrays"].values(), strict=True):
        variable.assign(array.numpy())
    slot = f"user-{client}"
    own = work.arrays["user"][client]
    if slot in context.state:
        own = context.state[slot]["vector"].numpy()
    vector = model.get_layer("own").embeddings
    vector.assign(own[None])
    items, labels = work.samples(client)
    model.fit(
        [items, np.zeros_like(items)],
        labels,
        batch_size=work.hyper["batch"],
        epochs=1,
        shuffle=False,
        verbose=0,
    )
    context.state[slot] = ArrayRecord({"vector": Array(vector.numpy()[0])})
    arrays = ArrayRecord({str(i): Array(v.numpy()) for i, v in enumerate(shared)})
    metrics = MetricRecord({"num-examples": len(items)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


server_app = ServerApp()


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
        strategy = FedAvg(
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
