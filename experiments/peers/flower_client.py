"""The client of the comparison in Flower: a plain Keras model, trained by `fit`.

A module of its own, which Ray's workers import.  What stands in the main script is
pickled with every message, so that no model would be kept from one client to the next.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras
import numpy as np
from arrays import Work, read_file
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

client_app = ClientApp()


@lru_cache(maxsize=1)
def work_here(file: str) -> Work:
    """Return the workload, read once in each worker."""
    return read_file(file, 0)


@lru_cache(maxsize=1)
def model_here(file: str) -> Any:
    """Return the compiled Keras model of a worker; its weights are set before each use."""
    work = work_here(file)
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
    # XLA would compile anew for every size of a client's last batch.
    model.compile(keras.optimizers.SGD(hyper["lr"]), loss, jit_compile=False)
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
    file = str(message.content["config"]["file"])
    work, model = work_here(file), model_here(file)
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
