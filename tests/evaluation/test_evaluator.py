"""Evaluation of users: against plain Python, and what must not change it."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError, DataError, ModelError
from fedrec.evaluation.evaluator import Scorer, evaluate_users, list_length
from fedrec.evaluation.sums import EvaluationSums, means
from tests.evaluation.evaluation_cases import held_out, like_ml_1m, plain_metrics, population

KS = (1, 3, 10)


def _evaluate(
    score: Scorer, held, num_items: int, users: np.ndarray | None = None, **options
) -> EvaluationSums:
    asked = {"ks": KS, "sampled": 5, "seed": 0, "part": "test", "bootstrap": 20, **options}
    return evaluate_users(score, held, users, num_items=num_items, **asked)


def _assert_equal(a: EvaluationSums, b: EvaluationSums, *, rtol: float = 1e-12) -> None:
    assert a.values.keys() == b.values.keys()
    for name in ("values", "counts", "replicates", "replicate_counts", "groups"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_allclose(left[key], right[key], rtol=rtol, atol=1e-12, err_msg=key)
    np.testing.assert_array_equal(a.recommended, b.recommended)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(9, 40))
def test_full_ranking_agrees_with_plain_python(seed: int, num_users: int, num_items: int) -> None:
    held, scores, relevant, seen = population(seed, num_users, num_items)
    found = _evaluate(lambda users: scores[users], held, num_items)
    expected: dict[str, float] = {}
    shown = np.zeros(num_items, np.int64)
    for user, wanted in relevant.items():
        if not wanted:
            continue
        candidates = sorted(set(range(num_items)) - set(seen[user]), key=lambda i: -scores[user, i])
        shown[candidates[:10]] += 1
        for k in KS:
            for name, value in plain_metrics(candidates, set(wanted), k).items():
                key = f"full.{name}@{k}"
                expected[key] = expected.get(key, 0.0) + value
    for key, value in expected.items():
        assert found.values[key] == pytest.approx(value), key
    assert found.counts["full"] == sum(bool(items) for items in relevant.values())
    np.testing.assert_array_equal(found.recommended, shown)


def test_sampled_protocol_with_all_negatives_is_the_full_ranking() -> None:
    held, scores, _, _ = population(5, 30, 25)
    found = means(_evaluate(lambda users: scores[users], held, 25, sampled=25))
    for name, value in found.items():
        if name.startswith("full."):
            assert found[name.replace("full.", "sampled25.")] == pytest.approx(value), name


@given(st.integers(0, 10**6))
def test_sums_over_nodes_add_up_to_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held, scores, _, _ = population(seed, 15, 20)
    scores = np.floor(scores / 30)  # with ties
    groups = {"gender=F": rng.integers(0, 2, 15).astype(np.int32)}
    nodes = rng.integers(0, 3, 15)
    whole = _evaluate(lambda users: scores[users], held, 20, groups=groups)
    parts = [
        _evaluate(
            lambda users: scores[users], held, 20, users=np.flatnonzero(nodes == n), groups=groups
        )
        for n in range(3)
    ]
    _assert_equal(parts[0] + parts[1] + parts[2], whole)


@given(st.integers(0, 10**6))
def test_renumbering_items_changes_nothing_in_the_full_ranking(seed: int) -> None:
    held, scores, relevant, seen = population(seed, 8, 20)
    to = np.random.default_rng(seed).permutation(20)
    moved = np.empty_like(scores)
    moved[:, to] = scores
    other = held_out(
        {u: to[items].tolist() for u, items in relevant.items()},
        {u: to[items].tolist() for u, items in seen.items()},
        8,
    )
    first = _evaluate(lambda users: scores[users], held, 20, sampled=0)
    second = _evaluate(lambda users: moved[users], other, 20, sampled=0)
    for name, value in first.values.items():
        assert second.values[name] == pytest.approx(value), name
    np.testing.assert_array_equal(second.recommended[to], first.recommended)


def test_blocks_and_the_order_of_users_change_nothing() -> None:
    held, scores, _, _ = population(2, 3000, 30)
    scores = np.floor(scores / 40)
    whole = _evaluate(lambda users: scores[users], held, 30, block_mib=256)
    _assert_equal(_evaluate(lambda users: scores[users], held, 30, block_mib=1), whole)
    shuffled = np.random.default_rng(0).permutation(3000)
    _assert_equal(_evaluate(lambda users: scores[users], held, 30, users=shuffled), whole)


def test_monotone_transformations_change_nothing() -> None:
    held, scores, _, _ = population(4, 25, 20)
    first = _evaluate(lambda users: scores[users] / 500, held, 20)
    _assert_equal(_evaluate(lambda users: np.exp(scores[users] / 500), held, 20), first)


@pytest.mark.parametrize("level", [0.0, 3.5])
def test_a_constant_scorer_is_random_and_never_favoured(level: float) -> None:
    num_users, num_items = 6000, 100
    held, _, relevant, seen = population(9, num_users, num_items, most=2)
    ones = np.full((1, num_items), level, np.float32)
    found = _evaluate(lambda users: np.repeat(ones, len(users), 0), held, num_items, sampled=9)
    for protocol in ("full", "sampled9"):
        chances = []
        for user, wanted in relevant.items():
            if wanted:
                others = 9 + len(wanted) if protocol == "sampled9" else num_items - len(seen[user])
                chances.append(1 - np.prod([1 - 3 / (others - j) for j in range(len(wanted))]))
        error = np.sqrt(np.sum(np.array(chances) * (1 - np.array(chances))))
        assert abs(found.values[f"{protocol}.hr@3"] - np.sum(chances)) < 3 * error


def test_what_the_model_returns_is_not_written_to() -> None:
    held, scores, _, _ = population(1, 10, 20)
    scores.flags.writeable = False
    before = scores.copy()
    _evaluate(lambda users: scores if len(users) == 10 else scores[users], held, 20)
    np.testing.assert_array_equal(scores, before)


def test_groups_are_sums_over_their_members() -> None:
    held, scores, relevant, _ = population(6, 20, 20)
    member = (np.arange(20) % 3 == 0).astype(np.int32)
    found = _evaluate(lambda users: scores[users], held, 20, groups={"age=20..30": member})
    alone = _evaluate(lambda users: scores[users], held, 20, users=np.flatnonzero(member))
    assert found.groups["age=20..30.count"] == alone.counts["full"]
    for name, value in alone.values.items():
        assert found.groups[f"age=20..30.{name}"] == pytest.approx(value)


def test_nobody_to_evaluate_gives_zero_sums() -> None:
    held, scores, _, _ = population(6, 20, 20)
    none = _evaluate(lambda users: scores[users], held, 20, users=np.zeros(0, np.int64))
    assert set(none.values.values()) == {0.0}
    assert means(none) == {}
    whole = _evaluate(lambda users: scores[users], held, 20)
    _assert_equal(none + whole, whole)


def test_parts_differ_in_negatives_and_seeds_reproduce() -> None:
    held, scores, _, _ = population(3, 200, 50)

    def hr(**options) -> float:
        return _evaluate(lambda users: scores[users], held, 50, **options).values["sampled5.hr@1"]

    assert hr() == hr()
    assert len({hr(), hr(part="valid"), hr(seed=1)}) > 1


def test_list_length_is_ten_where_it_can() -> None:
    assert [list_length((5, 10, 20)), list_length((5, 20))] == [10, 5]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    held, scores, _, _ = population(3, 5, 12)
    scores[int(held.users[0]), 3] = bad
    with pytest.raises(ModelError, match="diverged; lower the learning rate"):
        _evaluate(lambda users: scores[users], held, 12)


def test_scores_of_the_wrong_shape_are_refused() -> None:
    held, scores, _, _ = population(3, 5, 12)
    with pytest.raises(ModelError, match=r"scores have shape \(\d, 11\), expected"):
        _evaluate(lambda users: scores[users, :11], held, 12)


def test_a_held_out_item_met_in_training_is_refused() -> None:
    held = held_out({0: [3]}, {0: [3, 4]}, 1)
    with pytest.raises(DataError, match="item 3 is held out for user 0 who has also met it"):
        _evaluate(lambda users: np.zeros((1, 6), np.float32), held, 6)


def test_unknown_part_and_empty_cut_offs_are_refused() -> None:
    held, scores, _, _ = population(3, 5, 12)
    with pytest.raises(ConfigError, match="unknown part 'tset'.*Did you mean 'test'"):
        _evaluate(lambda users: scores[users], held, 12, part="tset")
    for ks in ((), (0, 5)):
        with pytest.raises(ConfigError, match=r"evaluate\.k"):
            _evaluate(lambda users: scores[users], held, 12, ks=ks)


def test_a_million_interactions_are_ranked_in_seconds() -> None:
    """Of processor time, as the machine may be shared; the bound is loose."""
    held, score, num_items = like_ml_1m()
    begin = time.process_time()
    found = _evaluate(score, held, num_items, ks=(5, 10, 20), sampled=99, bootstrap=1000)
    assert time.process_time() - begin < 6.0
    num_users = found.counts["full"]
    assert abs(means(found)["sampled99.hr@10"] - 0.1) < 3 * np.sqrt(0.09 / num_users)


@pytest.mark.slow
def test_bench_full_ranking_of_a_million_interactions() -> None:
    held, score, num_items = like_ml_1m()
    begin = time.perf_counter()
    _evaluate(score, held, num_items, ks=(5, 10, 20), sampled=99, bootstrap=1000)
    seconds = time.perf_counter() - begin
    print(f"\n6,040 users x 3,706 items, full + 99 negatives, 1,000 replicates: {seconds:.2f} s")
    assert seconds < 3.0
