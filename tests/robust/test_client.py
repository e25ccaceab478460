"""Attack and bound on the client, before anything is summed."""

import numpy as np
import pytest

from fedrec.privacy.stages import client_norms
from fedrec.robust.attacks import make_plot
from fedrec.robust.client import as_sent
from fedrec.training.aggregate import bytes_up
from tests.robust.test_updates import block_of


def both(**keys):
    setup, shared, clients, update = block_of(**keys)
    sent = as_sent(setup.config, setup.population, shared, update, clients, 1)
    return setup, clients, update, sent


def test_without_attack_and_bound_nothing_is_touched():
    for keys in ({}, {"robust__defence": "median"}):
        _, _, update, sent = both(**keys)
        assert sent is update


@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_a_bound_holds_for_every_client(model):
    keys = {"robust__norm": 0.05, "model__name": model}
    _, _, update, sent = both(robust__defence="norm-bound", **keys)
    assert client_norms(update).min() > 0.05
    assert client_norms(sent).max() <= 0.05 * (1 + 1e-5)
    _, _, _, sent = both(robust__defence="row-clip", **keys)
    whole = np.concatenate(list(sent.rows.values()), 1)
    assert np.linalg.norm(whole, axis=1).max() <= 0.05 * (1 + 1e-5)
    for name, value in update.weights.items():
        assert np.array_equal(sent.weights[name], value)  # it bounds rows alone


def test_malicious_clients_are_bounded_too_and_their_bytes_are_counted():
    keys = {"robust__attack": "replace", "robust__malicious": 0.25, "robust__boost": 100.0}
    setup, clients, update, sent = both(**keys)
    bad = make_plot(setup.config, setup.population, "replace").malicious[clients]
    assert bad.any()
    assert client_norms(sent)[bad].min() > 10 * client_norms(update).max()
    sizes = np.bincount(sent.index["item"].client, minlength=len(clients))
    assert (sizes[bad] == 1).all()
    assert bytes_up(sent) == sizes.sum() * (4 + 4 * 5)  # d = 5: an id and five floats a row
    _, _, _, bounded = both(robust__defence="norm-bound", robust__norm=0.05, **keys)
    assert client_norms(bounded).max() <= 0.05 * (1 + 1e-5)
