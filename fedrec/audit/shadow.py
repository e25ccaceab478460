"""Interaction-level membership inference by a shadow client.

Yuan et al., "Interaction-level membership inference attack against federated
recommender systems" (WWW 2023): the server knows the model, the hyper-parameters
and which rows a client has touched.  It guesses which of them are interactions,
trains a shadow client on the guess and compares: where the guess is right, the
shadow's row resembles the uploaded one.  Ours repeats that: each pass keeps the
rows that resembled best as its next guess, with less and less random exploration,
and the evidence of all passes decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.inference import Target
from fedrec.audit.rounds import State
from fedrec.audit.scoring import Floats, Scores
from fedrec.audit.views import View
from fedrec.data.batches import Samples
from fedrec.rng import Purpose, draw, keys, uniform
from fedrec.training.local import train_cohort
from fedrec.training.node import Setup

_UNTOLD = 30  # clients that are attacked where all items are candidates
_EXPLORE = 1.0  # weight of random exploration in the first pass, in standard deviations


def shadow_attack(
    setup: Setup,
    state: State,
    view: View,
    target: Target,
    bystanders: Target,
    round_number: int,
    passes: int,
) -> dict[str, tuple[Scores, Scores | None, float]]:
    """Guess which rows are interactions, by training shadow clients.

    All clients are attacked in one call for each pass.  Where the view is a sum, the
    shadow is compared with the row of the sum.

    Args:
        setup: the prepared configuration; clients are users.
        state: the server's parameters before the round.
        view: what the server sees of the round.
        target: clients of the round, as in the view.
        bystanders: clients that are not in the round.
        round_number: the round.
        passes: shadow trainings.

    Returns:
        "f1" and, where the view does not show which rows a client touches, "f1, rows
        told" of an attacker who knows them from elsewhere; without that knowledge all
        items are candidates, and a few clients are attacked.  Scores, those of
        guessing (the attack on bystanders, or on somebody else's update), and the
        expectation of a random selector.  As many rows are guessed as a client has
        positives by the public number of negatives.
    """
    secure = view.protection.secure
    about = bystanders if secure else target
    shift = 0 if secure else 1

    def attack(who: Target, move: int, told: bool) -> tuple[Floats, Floats]:
        candidates = who.touched if told else np.ones_like(who.touched)
        client, ids = np.nonzero(candidates)
        size = _guess_size(setup, who)
        uploaded = _unit(_visible(view, (client + move) % len(target.clients), ids), client)
        found = _search(setup, state, who.clients, candidates, uploaded, size, round_number, passes)
        return _score(found, who.interactions[client, ids], client, size)

    def pair(told: bool) -> tuple[Scores, Scores | None, float]:
        few = slice(None) if told else slice(_UNTOLD)
        mine, other = target.take(few), about.take(few)
        values, chance = attack(mine, 0, told)
        guessed, _ = attack(other, shift, told)
        scores = Scores(mine.clients, values), Scores(other.clients, guessed)
        return (*scores, float(chance.mean()))

    if not secure and not view.deviation:
        return {"f1": pair(True)}
    return {"f1": pair(False), "f1, rows told": pair(True)}


def _search(
    setup: Setup,
    state: State,
    clients: NDArray[np.int64],
    candidates: NDArray[np.bool_],
    uploaded: Floats,
    size: NDArray[np.int64],
    round_number: int,
    passes: int,
) -> NDArray[np.bool_]:
    """Return which candidates are taken for interactions, bool [T]."""
    client, ids = np.nonzero(candidates)
    word = keys(setup.config.run.seed, round_number, clients, Purpose.AUDIT)
    evidence = np.zeros(len(ids))
    for number in range(passes):
        noise = uniform(draw(word[client], ids + number * candidates.shape[1]))
        heat = _EXPLORE * (1.0 - number / passes)
        values = _standard(evidence, client) + heat * noise if number else noise
        guess = _top(values, client, size)
        shadow = _shadow_rows(setup, state, client, ids, guess, len(clients))
        distance = np.linalg.norm(uploaded - _unit(shadow, client), axis=1)
        evidence += np.where(guess, -1.0, 1.0) * _standard(distance, client)
    return _top(evidence, client, size)


def _visible(view: View, client: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray:
    """Return the view's rows of pairs of client position and item, float [T, D]."""
    if view.total is not None:
        rows: NDArray = view.total[ids]
        return rows
    out = np.zeros((len(ids), view.width), np.float32)
    for where, rows in view.blocks():
        here = np.flatnonzero((client >= where.start) & (client < where.stop))
        out[here] = rows[client[here] - where.start, ids[here]]
    return out


def _shadow_rows(
    setup: Setup,
    state: State,
    client: NDArray[np.int64],
    ids: NDArray[np.int64],
    guess: NDArray[np.bool_],
    num_clients: int,
) -> NDArray[np.float32]:
    """Train one shadow client for each client on guessed labels; return its rows [T, D]."""
    samples = Samples(
        client,
        {"item": ids},
        guess.astype(np.float32),
        np.ones(len(ids), np.float32),
        keys(setup.config.run.seed, 0, np.arange(len(ids)), Purpose.AUDIT),
        num_clients,
    )
    everyone = np.arange(num_clients)
    personal = setup.model.init_personal(everyone, setup.config.run.seed + 1)
    update = train_cohort(setup.model, state.shared, personal, samples, setup.method)
    return np.concatenate([update.rows[name] for name in state.shared.tables], 1)


def _guess_size(setup: Setup, about: Target) -> NDArray[np.int64]:
    """Return the number of positives of each client, as follows from its touched rows."""
    share = 1.0 / (1.0 + setup.method.sampling.negatives)
    return np.maximum(1, np.rint(about.touched.sum(1) * share)).astype(np.int64)


def _unit(rows: NDArray, client: NDArray[np.int64]) -> Floats:
    """Scale each client's rows to a whole of norm 1: only directions are compared."""
    squares = np.bincount(client, (rows.astype(np.float64) ** 2).sum(1))
    scaled: Floats = rows / np.sqrt(np.maximum(squares, 1e-30))[client, None]
    return scaled


def _standard(values: Floats, client: NDArray[np.int64]) -> Floats:
    """Centre and scale values within each client."""
    count = np.maximum(np.bincount(client), 1)
    centred = values - (np.bincount(client, values) / count)[client]
    spread = np.sqrt(np.bincount(client, centred**2) / count)
    standard: Floats = centred / np.maximum(spread, 1e-12)[client]
    return standard


def _top(values: Floats, client: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the `size` largest values of each client."""
    order = np.lexsort((-values, client))
    first = np.searchsorted(client, np.arange(len(size)))
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - first[client[order]]
    marked: NDArray[np.bool_] = rank < size[client]
    return marked


def _score(
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    client: NDArray[np.int64],
    size: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Return the F1 of each client, and the expectation of a random selector's."""
    count = len(size)
    rows = np.maximum(np.bincount(client, minlength=count), 1)
    positives = np.bincount(client, truth, count)
    hits = np.bincount(client, found & truth, count)
    whole = size + positives
    return 2 * hits / whole, 2 * size * positives / rows / whole
