"""Training without communication: each client has only itself.

It is the other end of the scale beside centralised training, and the probe of the
leak guard.  Every client has a copy of the tables of its own; the copies of a
block lie one after the other, and the training is `train_block` as ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.evaluation.selection import best_round, selection_metric
from fedrec.evaluation.sums import EvaluationSums, means
from fedrec.models.localised import Localised, weight_names
from fedrec.models.recommender import (
    Recommender,
    constants,
)
from fedrec.params import Personal, Shared
from fedrec.training.central import Trained
from fedrec.training.device import block_bytes
from fedrec.training.methods import Method, Phase
from fedrec.training.node import (
    Setup,
    evaluate_scorer,
    init_personal,
    init_shared,
    personal_users,
    train_block,
    training_blocks,
)
from fedrec.training.scoring import Scorer, compile_score, fixed_tables, histories

Marks = dict[int, tuple[EvaluationSums, EvaluationSums, float]]
_SCORE_BYTES = 64 << 20


def train_local_only(
    setup: Setup, on_event: Callable[[dict[str, object]], None] | None = None
) -> Trained:
    """Train every client alone; the number of passes is selected on validation.

    Blocks of clients are trained to the end one after the other, so that memory
    holds the tables of one block only.  The test is evaluated wherever validation
    is, and reported at the selected pass.

    Args:
        setup: the prepared configuration.
        on_event: called with each line of the history.

    Returns:
        The selected figures.
    """
    alone = by_itself(setup)
    marks: Marks = {}
    start = time.perf_counter()
    for clients in _blocks(alone):
        for number, (valid, test, loss) in _train_block(alone, clients).items():
            before = marks.get(number)
            if before is not None:
                valid, test, loss = before[0] + valid, before[1] + test, before[2] + loss
            marks[number] = (valid, test, loss)
    seconds = (time.perf_counter() - start) / max(1, setup.config.local.epochs)
    history: list[dict[str, object]] = []
    for number, (valid, _, loss) in sorted(marks.items()):
        line: dict[str, object] = {
            "round": number,
            "valid": means(valid),
            "seconds": seconds,
            "loss": loss / setup.population.num_clients,
        }
        history.append(line)
        if on_event:
            on_event({"event": "round", **line})
    validated = {number: means(valid) for number, (valid, _, _) in marks.items()}
    best = best_round(validated, selection_metric(setup.config))
    return Trained(best, marks[best][0], marks[best][1], history, seconds)


def local_method(setup: Setup) -> Method:
    """Return the method of a client that trains alone: rates of the section `local`."""
    local = setup.config.local
    phase = Phase(
        batch=local.batch,
        epochs=local.every,
        optimizer=local.optimizer,
        lr=local.lr,
        personal_lr=local.lr,
        l2=local.l2,
    )
    explicit = setup.config.data.feedback == "explicit"
    sampling = replace(
        setup.method.sampling,
        all_items=False,
        negatives=0 if explicit else max(1, setup.config.train.negatives),
    )
    return Method("local-only", (phase,), sampling)


def _blocks(setup: Setup) -> list[NDArray[np.int64]]:
    """Blocks of clients of like size, whose tables fit a fraction of the block memory.

    Clients without samples come last: they are evaluated with what they start from.
    """
    limit = block_bytes(setup.config) // 4
    step = max(1, limit // max(1, init_shared(setup).num_bytes))
    clients = np.arange(setup.population.num_clients)
    blocks = list(training_blocks(setup, clients))
    blocks.append(np.setdiff1d(clients, np.concatenate([clients[:0], *blocks])))
    return [block[at : at + step] for block in blocks for at in range(0, len(block), step)]


def _train_block(setup: Setup, clients: NDArray[np.int64]) -> Marks:
    """Train one block to the end; returns figures at each validated pass."""
    users = personal_users(setup, clients)
    marks: Marks = {}
    for number, loss, scorer in own_passes(setup, clients):
        marks[number] = (
            evaluate_scorer(setup, scorer, users, "valid", bootstrap=0),
            evaluate_scorer(
                setup, scorer, users, "test", bootstrap=setup.config.evaluate.bootstrap
            ),
            loss,
        )
    return marks


def by_itself(setup: Setup) -> Setup:
    """Return the setup of clients that keep even the dense weights, and train alone."""
    return replace(setup, model=alone(setup.model), method=local_method(setup))


def alone(model: Recommender) -> Recommender:
    """Return the model with all its dense weights kept by the client."""
    return Localised(model, ("*",)) if weight_names(model) else model


def trained_on(shared: Shared, personal: Personal, users: int) -> tuple[Shared, Personal]:
    """Return what clients begin with who train on at home: a start of `own_passes`.

    Local fine-tuning (Wang et al. 2019, "Federated evaluation of on-device personalization").

    Args:
        shared: of the federated model; every client gets a copy of its own.
        personal: what the clients have, stacked by local user.
        users: local users of all of them.
    """
    copies = {n: np.repeat(v[None], users, 0) for n, v in shared.weights.items()}
    return replace(shared, weights={}), Personal({**personal.values, **copies})


def own_passes(
    setup: Setup,
    clients: NDArray[np.int64],
    start: tuple[Shared, Personal] | None = None,
    *,
    lasting: bool = False,
) -> Iterator[tuple[int, float, Scorer]]:
    """Train a block of clients, each alone, and yield the state after every few passes.

    Args:
        setup: as `by_itself` returns it.
        clients: int64 [C], ascending.
        start: what all begin with, and personal parameters stacked like `personal_users`
            with a copy of the weights for each user; None: initial parameters.
        lasting: whether what is yielded shall stay as it is while training goes on.

    Yields:
        the number of passes, the sum of the clients' losses, and the scorer of their users.
    """
    users = personal_users(setup, clients)
    one, personal = start or (init_shared(setup), init_personal(setup, clients))
    tables = {t: np.tile(v, (len(clients), 1)) for t, v in one.tables.items()}
    still = {**constants(setup.model), **one.fixed}
    fixed = {t: np.tile(v, (len(clients), 1)) for t, v in still.items()}
    local = setup.config.local
    for number in range(local.every, max(local.epochs, local.every) + 1, local.every):
        update, personal = train_block(
            setup,
            Shared(tables, fixed=fixed),
            personal,
            clients,
            number // local.every,
            copies=np.arange(len(clients)),
        )
        for table, delta in update.rows.items():
            tables[table][update.index[table].ids] += delta
        now = {t: v.copy() for t, v in tables.items()} if lasting else tables
        scorer = _own_scorer(setup, one, now, personal, clients, users)
        yield number, float(update.loss.sum()), scorer


def _own_scorer(
    setup: Setup,
    shared: Shared,
    tables: Mapping[str, NDArray[np.float32]],
    personal: Personal,
    clients: NDArray[np.int64],
    users: NDArray[np.int64],
) -> Scorer:
    """Score each user with the tables of its own client."""
    run = compile_score(setup.model, own_rows=True)
    copies = {t: v.reshape(len(clients), -1, v.shape[1]) for t, v in tables.items()}
    position = np.searchsorted(clients, setup.population.client_of_user)
    row_bytes = sum(v[0].nbytes for v in copies.values())
    step = max(1, _SCORE_BYTES // max(1, row_bytes))

    def score(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for at in range(0, len(wanted), step):
            some = wanted[at : at + step]
            own = personal.take(np.searchsorted(users, some))
            parts.append(
                run(
                    {},
                    {n: tf.constant(v) for n, v in own.values.items()},
                    {t: tf.constant(v[position[some]]) for t, v in copies.items()},
                    fixed_tables(setup.model, shared),
                    tf.constant(histories(setup.population, some, setup.model)),
                ).numpy()
            )
        return np.concatenate(parts)

    return score
