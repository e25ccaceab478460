"""Single updates: put together, taken apart, and put back."""

import numpy as np
import pytest

from fedrec.audit.rounds import begin
from fedrec.robust.updates import gather, merge, nothing, stack, unstack
from fedrec.training.node import init_personal, personal_users, train_block, training_blocks
from tests.audit.audit_cases import small_setup, updates_of


def block_of(**keys):
    setup = small_setup(**keys)
    shared, everyone = begin(setup).shared, np.arange(40)
    clients = next(iter(training_blocks(setup, everyone)))
    personal = init_personal(setup, everyone).take(personal_users(setup, clients))
    update, _ = train_block(setup, shared, personal, clients, 1)
    return setup, shared, clients, update


@pytest.mark.parametrize("keys", [{}, {"model__name": "ncf"}])
def test_stacked_and_unstacked_is_the_same(keys):
    _, shared, clients, update = block_of(**keys)
    back = unstack(stack(clients, update, shared, 0.0), update)
    assert list(back.rows) == list(shared.tables)
    for name, rows in back.rows.items():
        assert np.array_equal(rows, update.rows[name])
        assert np.array_equal(back.index[name].client, update.index[name].client)
        assert np.array_equal(back.index[name].ids, update.index[name].ids)
    for name, value in update.weights.items():
        assert np.array_equal(back.weights[name], value)
    assert back.loss is update.loss
    assert len({id(index) for index in back.index.values()}) == 1  # ids travel once


def test_parts_merge_by_client_whatever_their_order():
    whole = updates_of([{0: [1.0]}, {1: [2.0], 3: [3.0]}, {0: [4.0]}, {2: [5.0]}], 4,
                       [[1.0], [2.0], [3.0], [4.0]])  # fmt: skip
    odd, even = whole.take(np.array([1, 3])), whole.take(np.array([0, 2]))
    for parts in ([odd, even], [even, odd]):
        merged = merge(parts)
        assert merged.clients.tolist() == [0, 1, 2, 3]
        assert merged.client.tolist() == [0, 1, 1, 2, 3]
        assert merged.ids.tolist() == [0, 1, 3, 0, 2]
        assert merged.rows.ravel().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert merged.weights["head"].ravel().tolist() == [1.0, 2.0, 3.0, 4.0]


def test_updates_of_nobody():
    setup = small_setup(model__name="ncf")
    shared = begin(setup).shared
    none = gather([], shared, 0.0)
    assert none.rows.shape == (0, sum(v.shape[1] for v in shared.tables.values()))
    assert none.norms.shape == (0,)
    assert merge([nothing(shared), none]).clients.tolist() == []


def test_a_factor_of_zero_removes_what_is_not_finite():
    updates = updates_of([{0: [np.nan]}, {0: [2.0]}], 1, [[np.inf], [1.0]])
    scaled = updates.scaled(np.array([0.0, 0.5]))
    assert scaled.rows.ravel().tolist() == [0.0, 1.0]
    assert scaled.weights["head"].ravel().tolist() == [0.0, 0.5]
