"""An independent reference of local training: numpy, float64, one client at a time.

It shares no code with `fedrec.training`: gradients are written by hand, batches
are Python lists, the optimisers are a few lines each.  From `fedrec` it takes the
client's samples and the addressed words that shuffle them, no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np

from fedrec.config import Config
from fedrec.data.batches import Samples
from fedrec.rng import draw

Group = dict[str, Any]


@dataclass
class Client:
    """State of one client: rows by (table, id), dense weights, personal values."""

    rows: dict[tuple[str, int], np.ndarray]
    weights: dict[str, np.ndarray]
    personal: dict[str, np.ndarray]
    moments: dict[Any, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    steps: int = 0
    loss: float = 0.0
    follows: bool = True  # whether a gradient moves the start


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def mf_step(client: Client, sample: dict[str, Any], kind: str, explicit: bool) -> Any:
    """Loss of one sample, and its gradients: of rows (by key), weights, personal."""
    if "start/head" in client.weights or "start/user" in client.weights:
        return started_step(client, sample, kind, explicit)
    if kind == "head":
        return head_step(client, sample)
    p = client.personal["user"]
    q = client.rows["item", sample["item"]]
    if kind == "bpr":
        n = client.rows["item", sample["negative"]]
        x = p @ q - p @ n
        g = -sigmoid(-x)
        rows = [(("item", sample["item"]), g * p), (("item", sample["negative"]), -g * p)]
        return np.log1p(np.exp(-x)), rows, {}, {"user": g * (q - n)}
    s = p @ q
    if explicit:
        s = s + client.weights["mean"] + client.personal["user_bias"][0]
        s = s + client.rows["item_bias", sample["item"]][0]
    y = sample["label"]
    if kind == "squared":
        loss, g = 0.5 * (s - y) ** 2, s - y
    else:
        loss, g = np.log1p(np.exp(-s)) + (1 - y) * s, sigmoid(s) - y
    rows, weights, personal = [(("item", sample["item"]), g * p)], {}, {"user": g * q}
    if explicit:
        rows.append((("item_bias", sample["item"]), np.array([g])))
        weights, personal["user_bias"] = {"mean": np.array(g)}, np.array([g])
    return loss, rows, weights, personal


def head_step(client: Client, sample: dict[str, Any]) -> Any:
    """The same for a score head: there is no user vector, weights and bias are personal."""
    w, q, y = client.personal["head"], client.rows["item", sample["item"]], sample["label"]
    s = w @ q + client.personal["bias"][0]
    g = sigmoid(s) - y
    own = {"head": g * q, "bias": np.array([g])}
    return np.log1p(np.exp(-s)) + (1 - y) * s, [(("item", sample["item"]), g * w)], {}, own


def started_step(client: Client, sample: dict[str, Any], kind: str, explicit: bool) -> Any:
    """The same where theta = start + change: both have the gradient of theta."""
    starts = {n: v for n, v in client.weights.items() if n.startswith("start/")}
    own = {n: client.personal[n] + client.weights["start/" + n] for n in client.personal}
    rest = {n: v for n, v in client.weights.items() if n not in starts}
    plain = Client(client.rows, rest, own)
    loss, rows, weights, personal = mf_step(plain, sample, kind, explicit)
    moved = {n: client.follows * personal[n.removeprefix("start/")] for n in starts}
    return loss, rows, weights | moved, personal


def move(client: Client, key: Any, value: np.ndarray, grad: Any, lr: float, adam: bool) -> Any:
    if not adam:
        return value - lr * grad
    first, second = client.moments.get(key, (np.zeros_like(value), np.zeros_like(value)))
    first = 0.9 * first + 0.1 * grad
    second = 0.999 * second + 0.001 * grad**2
    client.moments[key] = (first, second)
    t = client.steps + 1
    first_hat, second_hat = first / (1 - 0.9**t), second / (1 - 0.999**t)
    # Keras puts epsilon beside the root of the second moment before its correction
    return value - lr * first_hat / (np.sqrt(second_hat) + 1e-7 / sqrt(1 - 0.999**t))


@dataclass(frozen=True)
class Rule:
    """What the reference needs to know of a phase of training."""

    kind: str
    explicit: bool = False
    batch: int = 0
    epochs: int = 1
    adam: bool = False
    lr: float = 0.1
    row_lr: float = 0.0
    personal_first: bool = False
    part: str = "all"
    personal_lr: float = 0.1
    l2: float = 0.0
    prox_mu: float = 0.0
    mean: bool = True
    shared: bool = True
    personal: bool = True


def rules(config: Config) -> list[Rule]:
    """The phases of each method, from its paper and not from `fedrec.training.methods`."""
    train = config.train
    base: dict[str, Any] = {
        "kind": "head" if config.model.name == "head" else config.model.loss,
        "explicit": config.data.feedback == "explicit",
        "mean": train.reduction == "mean",
    }
    rates: dict[str, Any] = {
        "adam": train.optimizer == "adam",
        "lr": train.lr,
        "row_lr": train.row_lr,
        "personal_lr": train.personal_lr,
        "l2": train.l2,
    }
    if train.method == "alternating":
        rates["lr"] = 0.0
        first = Rule(**base, **rates, epochs=train.personal_steps, shared=False)
        last = Rule(**base, lr=1.0, l2=train.l2, personal=False)
        return [first, last]
    if train.method == "fcf":
        return [Rule(**{**base, "mean": False}, lr=1.0, personal=False)]
    mu = train.prox_mu if train.method == "fedprox" else 0.0
    if train.method in ("fedrecon", "reptile", "fomaml"):  # algorithm 1 of FedRecon
        own = Rule(**base, **{**rates, "lr": 0.0, "row_lr": 0.0}, batch=train.batch,
                   epochs=train.personal_steps, part="support", shared=False)  # fmt: skip
        rows = Rule(**base, **rates, batch=train.batch, epochs=train.epochs,
                    part="query", personal=False)  # fmt: skip
        return [own, rows]
    first = train.method == "pfedrec"
    passes: dict[str, Any] = {"batch": train.batch, "epochs": train.epochs}
    return [Rule(**base, **rates, **passes, prox_mu=mu, personal_first=first)]


def list_samples(samples: Samples, client: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The samples of one client as dicts, and the words that shuffle them."""
    mine = np.flatnonzero(samples.client == client)
    out = [
        {name: int(value[n]) for name, value in samples.fields.items()}
        | {"label": float(samples.label[n]), "weight": float(samples.weight[n])}
        | {"part": "all" if samples.query is None else ("support", "query")[int(samples.query[n])]}
        for n in mine
    ]
    return out, samples.order[mine]


def train(client: Client, start: Client, samples: list, words: np.ndarray, rule: Rule) -> None:
    """Run one phase of local training on one client, in place."""
    client.moments, client.steps, client.loss, total = {}, 0, 0.0, 0.0
    if rule.part != "all":
        mine = [n for n, sample in enumerate(samples) if sample["part"] == rule.part]
        samples, words = [samples[n] for n in mine], words[mine]
    for epoch in range(rule.epochs):
        order = np.argsort(words if epoch == 0 else draw(words, epoch))
        size = rule.batch or max(1, len(samples))
        for at in range(0, len(samples), size):
            batch = [samples[n] for n in order[at : at + size]]
            total += sum(s["weight"] for s in batch)
            step(client, start, batch, rule)
    client.loss /= max(total, 1e-12)


def step(client: Client, start: Client, batch: list, rule: Rule) -> None:
    size = sum(s["weight"] for s in batch)
    if size == 0:
        return
    if rule.personal_first:  # the head, then the rows, with the head as it is by then
        step(client, start, batch, replace(rule, personal_first=False, shared=False))
        loss, client.steps = client.loss, client.steps - 1
        step(client, start, batch, replace(rule, personal_first=False, personal=False))
        client.loss = loss
        return
    over = size if rule.mean else 1.0
    rows = {key: np.zeros_like(value) for key, value in client.rows.items()}
    weights = {name: np.zeros_like(value) for name, value in client.weights.items()}
    own = {name: np.zeros_like(value) for name, value in client.personal.items()}
    for sample in batch:
        loss, row_grads, weight_grads, own_grads = mf_step(client, sample, rule.kind, rule.explicit)
        w = sample["weight"] / over
        client.loss += sample["weight"] * loss
        for key, grad in row_grads:
            rows[key] += w * (grad + rule.l2 * client.rows[key])
        for name, grad in weight_grads.items():
            weights[name] += w * grad
        for name, grad in own_grads.items():
            own[name] += w * (grad + rule.l2 * client.personal[name])
    finish(client, start, rule, rows, weights, own)


def finish(
    client: Client, start: Client, rule: Rule, rows: Group, weights: Group, own: Group
) -> None:
    """Take the step of the optimiser."""
    if rule.shared:
        for key, value in client.rows.items():
            grad = rows[key] + rule.prox_mu * (value - start.rows[key])
            client.rows[key] = move(client, key, value, grad, rule.row_lr or rule.lr, rule.adam)
        for name, value in client.weights.items():
            grad = weights[name] + rule.prox_mu * (value - start.weights[name])
            client.weights[name] = move(client, name, value, grad, rule.lr, rule.adam)
    if rule.personal:
        for name, value in client.personal.items():
            grad, key = own[name], ("personal", name)
            client.personal[name] = move(client, key, value, grad, rule.personal_lr, rule.adam)
    client.steps += 1


def solve_user(table: np.ndarray, liked: list[int], alpha: float, ridge: float) -> np.ndarray:
    """The normal equations of one user, item by item (Hu, Koren and Volinsky 2008)."""
    left, right = ridge * np.eye(table.shape[1]), np.zeros(table.shape[1])
    for item, q in enumerate(table):
        confidence = 1.0 + (alpha if item in liked else 0.0)
        left += confidence * np.outer(q, q)
        right += confidence * q * (item in liked)
    return np.linalg.solve(left, right)
