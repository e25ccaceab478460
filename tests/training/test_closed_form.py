from __future__ import annotations

import numpy as np
import pytest

from fedrec.training.closed_form import solve_users
from tests.training.reference import solve_user


def test_two_by_two_by_hand() -> None:
    """Items (1, 0) and (0, 1); the user has item 0; alpha = 1, ridge = 1.

    Q'CQ + I = diag(2, 1) + I = diag(3, 2); Q'Cr = (2, 0); so p = (2/3, 0).
    """
    vectors = solve_users(
        np.eye(2, dtype=np.float32), np.array([0]), np.array([0]), 1, alpha=1.0, ridge=1.0
    )
    assert vectors[0] == pytest.approx([2 / 3, 0.0])


def test_items_that_share_a_direction_by_hand() -> None:
    """Items (1, 1) and (1, -1), both taken; alpha = 2, ridge = 2.

    Q'CQ = 3 * diag(2, 2), plus ridge diag(8, 8); Q'Cr = 3 * (2, 0); so p = (3/4, 0).
    """
    table = np.array([[1, 1], [1, -1]], np.float32)
    vectors = solve_users(table, np.array([0, 0]), np.array([0, 1]), 1, alpha=2.0, ridge=2.0)
    assert vectors[0] == pytest.approx([0.75, 0.0])


def test_equals_the_normal_equations_of_each_user() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(30, 6)).astype(np.float32)
    sizes = [0, 30, 1, 4, 4, 17]
    liked = [sorted(generator.permutation(30)[:n].tolist()) for n in sizes]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    items = np.concatenate([np.array(items, np.int64) for items in liked])
    ours = solve_users(table, owner, items, len(sizes), alpha=3.0, ridge=0.5)
    for user, mine in enumerate(liked):
        expected = solve_user(table.astype(np.float64), mine, 3.0, 0.5)
        assert ours[user] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert (ours[0] == 0).all()


def test_no_users() -> None:
    none = np.zeros(0, np.int64)
    vectors = solve_users(np.ones((3, 2), np.float32), none, none, 0, alpha=1.0, ridge=1.0)
    assert vectors.shape == (0, 2)
