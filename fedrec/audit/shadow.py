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

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.inference import Target
from fedrec.audit.rounds import State
from fedrec.audit.scoring import Attack, Floats, Scores, combine, standard
from fedrec.audit.views import View
from fedrec.data.batches import Samples
from fedrec.rng import Purpose, draw, keys, uniform
from fedrec.training.local import train_cohort
from fedrec.training.node import Setup

_UNTOLD = 30  # clients that are attacked where all items are candidates
_EXPLORE = 1.0  # weight of random exploration in the first pass, in standard deviations


@dataclass(frozen=True, eq=False)
class _Case:
    """Candidates for interactions, all clients' one after the other.

    Attributes:
        target: the C clients.
        candidates: bool [C, I].
        client: int64 [T], position of the client of each candidate.
        ids: int64 [T], its item.
        truth: bool [T].
        size: int64 [C], interactions of each client, as follows from the rows it touches.
    """

    target: Target
    candidates: NDArray[np.bool_]
    client: NDArray[np.int64]
    ids: NDArray[np.int64]
    truth: NDArray[np.bool_]
    size: NDArray[np.int64]


def shadow_attack(
    setup: Setup, state: State, view: View, target: Target, round_number: int, passes: int
) -> dict[str, Attack]:
    """Guess which rows are interactions, by training shadow clients.

    All clients are attacked in one call for each pass.  Where the view is a sum, the
    shadow is compared with the row of the sum.

    Args:
        setup: the prepared configuration; clients are users.
        state: the server's parameters before the round.
        view: what is seen of the round.
        target: clients of the round, as in the view.
        round_number: the round.
        passes: shadow trainings.

    Returns:
        "f1" and, where the view does not show which rows a client touches, "f1, rows
        told" of an attacker who knows them from elsewhere; without that knowledge all
        items are candidates, and a few clients are attacked.  Of a sum also "f1, rows and
        counts told", which weighs the evidence with the counts.  Guessing is the same
        attack on the sum without the client, or on somebody else's update.  As many rows
        are guessed as a client has positives by the public number of negatives.
    """
    secure = view.protection.secure
    absent, shift = (view.without(), 0) if secure else (view, 1)
    counts = np.log1p(view.counts.astype(np.float64))

    def search(case: _Case, seen: View, move: int) -> Floats:
        uploaded = _visible(seen, (case.client + move) % len(target.clients), case.ids)
        return _search(setup, state, case, _unit(uploaded, case.client), round_number, passes)

    def attack(case: _Case, mine: Floats, others: Floats) -> Attack:
        side = _score(case, counts[case.ids]) if secure else None
        return Attack(_score(case, mine), _score(case, others), _random(case), side)

    def both(case: _Case, mine: Floats, others: Floats) -> Attack:
        known = standard(counts[case.ids], case.client)
        fit, rest = (np.stack([standard(v, case.client), known]) for v in (mine, others))
        weigh = partial(combine, fit, case.truth, case.client)
        return attack(case, weigh(fit), weigh(rest))

    told = _case(setup, target, target.touched)
    evidence = search(told, view, 0), search(told, absent, shift)
    if not secure and not view.deviation:
        return {"f1": attack(told, *evidence)}
    few = target.take(slice(_UNTOLD))
    open_ = _case(setup, few, np.ones_like(few.touched))
    found = {"f1": attack(open_, search(open_, view, 0), search(open_, absent, shift))}
    found["f1, rows told"] = attack(told, *evidence)
    if secure:
        found["f1, rows and counts told"] = both(told, *evidence)
    return found


def _case(setup: Setup, target: Target, candidates: NDArray[np.bool_]) -> _Case:
    client, ids = np.nonzero(candidates)
    share = 1.0 / (1.0 + setup.method.sampling.negatives)
    size = np.maximum(1, np.rint(target.touched.sum(1) * share)).astype(np.int64)
    return _Case(target, candidates, client, ids, target.interactions[client, ids], size)


def _search(
    setup: Setup, state: State, case: _Case, uploaded: Floats, round_number: int, passes: int
) -> Floats:
    """Return the evidence of all passes for each candidate, float64 [T]."""
    client, ids, num_items = case.client, case.ids, case.candidates.shape[1]
    word = keys(setup.config.run.seed, round_number, case.target.clients, Purpose.AUDIT)
    evidence = np.zeros(len(ids))
    for number in range(passes):
        noise = uniform(draw(word[client], ids + number * num_items))
        heat = _EXPLORE * (1.0 - number / passes)
        values = standard(evidence, client) + heat * noise if number else noise
        guess = _top(values, client, case.size)
        shadow = _shadow_rows(setup, state, client, ids, guess, len(case.size))
        distance = np.linalg.norm(uploaded - _unit(shadow, client), axis=1)
        evidence += np.where(guess, -1.0, 1.0) * standard(distance, client)
    return evidence


def _visible(view: View, client: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray:
    """Return the view's rows of pairs of client position and item, float [T, D]."""
    out = np.zeros((len(ids), view.updates.rows.shape[1]))
    for where, rows in view.blocks():
        if view.one_for_all:
            return rows[0][ids]
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


def _unit(rows: NDArray, client: NDArray[np.int64]) -> Floats:
    """Scale each client's rows to a whole of norm 1: only directions are compared."""
    squares = np.bincount(client, (rows.astype(np.float64) ** 2).sum(1))
    scaled: Floats = rows / np.sqrt(np.maximum(squares, 1e-30))[client, None]
    return scaled


def _top(values: Floats, client: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the `size` largest values of each client."""
    order = np.lexsort((-values, client))
    first = np.searchsorted(client, np.arange(len(size)))
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - first[client[order]]
    marked: NDArray[np.bool_] = rank < size[client]
    return marked


def _score(case: _Case, evidence: Floats) -> Scores:
    """Return the F1 of taking the candidates with the most evidence."""
    found = _top(evidence, case.client, case.size)
    hits = np.bincount(case.client, found & case.truth, len(case.size))
    return Scores(case.target.clients, 2 * hits / (case.size + _positives(case)))


def _random(case: _Case) -> float:
    """Return the mean expectation of a random selector's F1."""
    rows = np.maximum(np.bincount(case.client, minlength=len(case.size)), 1)
    positives = _positives(case)
    chance = 2 * case.size * positives / rows / (case.size + positives)
    return float(chance.mean())


def _positives(case: _Case) -> Floats:
    count: Floats = np.bincount(case.client, case.truth, len(case.size)).astype(np.float64)
    return count
