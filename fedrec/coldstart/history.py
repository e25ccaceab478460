"""Strategies without user parameters: what the stranger reveals is all that they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.popular import popularity
from fedrec.coldstart.strangers import facing
from fedrec.coldstart.strategy import Strategy, Warm, history_rows, or_else
from fedrec.config_sequence import SEQUENCE_MODELS
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.models.export_starts import Kept
from fedrec.training.ease import ease_weights, gram_matrix, near_gram_matrix, recent_rows
from fedrec.training.gram import as_table
from fedrec.training.scorer import Scorer

_STAYS = "what a stranger reveals stays on its device"


def ease(warm: Warm) -> Strategy:
    """EASE (Steck, WWW 2019): item-item weights of one sum over the warm clients."""
    weights = ease_weights(gram_matrix(warm.rows), warm.setup.config.baseline.ease_l2)
    return _item_item("ease", warm, weights, 0.0)


def near_ease(warm: Warm) -> Strategy:
    """EASE in which pairs met close together, and what was met of late, count more.

    Raises:
        ConfigError: if neither baseline.ease_window nor baseline.ease_decay is set.
    """
    options = warm.setup.config.baseline
    if not options.ease_window and not options.ease_decay:
        raise ConfigError(
            "near-ease without baseline.ease_window and baseline.ease_decay is ease: set them, "
            "for example to 20 and 10"
        )
    gram = gram_matrix(warm.rows)
    if options.ease_window:
        gram = near_gram_matrix(warm.rows.astype(np.float64), options.ease_window)
    return _item_item("near-ease", warm, ease_weights(gram, options.ease_l2), options.ease_decay)


def item_knn(warm: Warm) -> Strategy:
    """Sum of the similarities to what is revealed (Sarwar et al., WWW 2001)."""
    from fedrec.training.neighbours import similar_items

    options = warm.setup.config.baseline
    alike = similar_items(gram_matrix(warm.rows), options.knn_k, options.knn_shrink)
    to_item = alike.T.tocsr()
    sent = to_item.nnz * 8
    own = {"table": as_table(alike, options.knn_k)}
    return _strategy("item-knn", warm, lambda rows: (rows @ to_item).toarray(), 0.0, sent, own)


def _item_item(name: str, warm: Warm, weights: NDArray[np.float32], decay: float) -> Strategy:
    own = {"weights": weights}
    return _strategy(name, warm, lambda rows: rows @ weights, decay, weights.nbytes, own)


def _strategy(
    name: str,
    warm: Warm,
    score: Callable[..., NDArray],
    decay: float,
    sent: int,
    own: Mapping[str, NDArray],
) -> Strategy:
    """Return a strategy that multiplies revealed rows, and is popularity without any."""
    popular = popularity(warm)

    def start(population: Population) -> Scorer:
        rows = recent_rows(history_rows(population), decay)

        def scorer(users: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.asarray(score(rows[users]), np.float32)

        return or_else(scorer, popular.scorer(population), population)

    privacy = f"{_STAYS}; of warm clients the sum of their pairs of items is known"
    kept = Kept({**own, **popular.kept.arrays}, {"decay": decay})
    return Strategy(name, privacy, sent + popular.bytes_down, start, kept=kept)


def sequence(warm: Warm) -> Strategy:
    """A trained sequence model: what is revealed is the state of the stranger.

    Raises:
        ConfigError: if the trained model is none.
    """
    from fedrec.training.tuning import client_scorer

    setup, shared = warm.setup, warm.shared
    if setup.config.model.name not in SEQUENCE_MODELS:
        raise ConfigError(
            f"the strategy 'sequence' needs a sequence model ({', '.join(SEQUENCE_MODELS)}), and "
            f"model.name = {setup.config.model.name!r}: set it, or leave 'sequence' out"
        )
    popular = popularity(warm)

    def start(population: Population) -> Scorer:
        there = facing(setup, population)
        everyone = np.arange(population.num_clients)
        own = setup.model.init_personal(everyone, setup.config.run.seed)
        scorer = client_scorer(there, shared, own, everyone, warm.round_number)
        return or_else(scorer, popular.scorer(population), population)

    privacy = f"{_STAYS}; warm clients sent their updates of the model, summed"
    down = shared.num_bytes + popular.bytes_down
    return Strategy("sequence", privacy, down, start, kept=popular.kept)
