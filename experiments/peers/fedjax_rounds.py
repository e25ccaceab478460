"""FedAvg in FedJAX (Ro, Suresh and Wu, 2021): `for_each_client` with its jit back end."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from arrays import answer, read_work, time_rounds

work, place = read_work()
LR = work.hyper["lr"]
LAYERS = work.layers


def logits(params: Any, user: Any, item: Any) -> Any:
    """Return the logits [B] of items for one user."""
    rows = params["table"][item]
    if not LAYERS:
        return rows @ user
    x = jnp.concatenate([jnp.broadcast_to(user, rows.shape), rows], -1)
    for number, layer in enumerate(LAYERS):
        x = x @ params[f"weights/{layer}/kernel"] + params[f"weights/{layer}/bias"]
        x = x if number == len(LAYERS) - 1 else jax.nn.relu(x)
    return x[:, 0]


def loss(moving: Any, batch: Any) -> Any:
    """Return the mean logistic loss of a batch; padding does not count."""
    z = logits(moving["params"], moving["user"], batch["item"])
    mask = batch["__mask__"].astype(jnp.float32)
    each = jax.nn.softplus(z) - batch["label"] * z
    return jnp.sum(each * mask) / jnp.sum(mask)


def init(params: Any, user: Any) -> Any:
    """Begin from the server's parameters and the client's own vector."""
    return {"params": params, "user": user}


def step(state: Any, batch: Any) -> Any:
    """Take a step of SGD."""
    grads = jax.grad(loss)(state, batch)
    return jax.tree_util.tree_map(lambda v, g: v - LR * g, state, grads)


def final(params: Any, state: Any) -> Any:
    """Return the change of the parameters, and the new vector."""
    delta = jax.tree_util.tree_map(lambda a, b: a - b, state["params"], params)
    return {"delta": delta, "user": state["user"]}


each_client = fedjax.for_each_client(init, step, final)
shared = {
    name: jnp.asarray(value)
    for name, value in work.arrays.items()
    if name == "table" or name.startswith("weights/")
}
users = list(work.arrays["user"])
datasets = {
    int(client): fedjax.ClientDataset(
        dict(zip(("item", "label"), work.samples(client), strict=True))
    )
    for client in np.unique(work.arrays["chosen"])
}
add = jax.jit(lambda total, delta, w: jax.tree_util.tree_map(lambda t, d: t + w * d, total, delta))
divide = jax.jit(lambda total, w: jax.tree_util.tree_map(lambda t: t / w, total))


def run(number: int) -> Any:
    """Train one round and apply its mean update."""
    global shared
    clients = [
        (c, datasets[c].padded_batch(batch_size=work.hyper["batch"]), users[c])
        for c in work.arrays["chosen"][number].tolist()
    ]
    total = jax.tree_util.tree_map(jnp.zeros_like, shared)
    weight = 0.0
    for client, output in each_client(shared, clients):
        users[client] = output["user"]
        size = float(len(datasets[client]))
        total = add(total, output["delta"], size)
        weight += size
    mean = divide(total, weight)
    shared = jax.block_until_ready(add(shared, mean, 1.0))
    return mean


seconds, first = time_rounds(work, run)
answer(place, seconds, first, {name: version(name) for name in ("fedjax", "jax")})
