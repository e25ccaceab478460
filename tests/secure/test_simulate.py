import itertools

import numpy as np
import pytest

import fedrec.secure
from fedrec.errors import ConfigError, DataError, SkippedRound
from fedrec.secure import STAGES, graph, simulate
from tests.secure.sessions import Session, expected_sum, outcome

MODES = ("semi-honest", "malicious-server")


def equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None) == (b is None) and (a is None or np.array_equal(a, b))


def test_three_clients_by_hand() -> None:
    result = simulate(np.array([[1, 2], [3, 4], [5, 6]], np.uint32))
    assert result.total.tolist() == [9, 12]
    assert result.total.dtype == np.uint64
    assert result.survivors == (0, 1, 2)
    assert (result.neighbours, result.threshold) == (2, 3)
    assert list(result.seconds_by_stage) == ["advertise", "share", "mask", "unmask"]
    assert result.bytes_up == sum(s.num_bytes for s in result.transcript if s.sender < 3)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_lost_after_its_vector_still_counts(mode: str) -> None:
    inputs = np.arange(30, dtype=np.uint32).reshape(6, 5)
    late = simulate(inputs, mode=mode, drops={2: "unmask"})
    assert late.survivors == (0, 1, 2, 3, 4, 5)
    assert np.array_equal(late.total, inputs.sum(axis=0))
    late = simulate(inputs, mode=mode, drops={2: "consistency"})
    assert late.survivors == (0, 1, 2, 3, 4, 5)
    early = simulate(inputs, mode=mode, drops={2: "mask"})
    assert early.survivors == (0, 1, 3, 4, 5)
    assert np.array_equal(early.total, np.delete(inputs, 2, axis=0).sum(axis=0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 9, 10, 12])
def test_the_default_threshold_tolerates_just_under_a_third(mode: str, n: int) -> None:
    inputs = np.arange(2 * n, dtype=np.uint8).reshape(n, 2)
    most = -(-n // 3) - 1
    for stage in ("advertise", "share", "mask", "unmask"):
        drops = dict.fromkeys(range(most), stage)
        result = simulate(inputs, mode=mode, drops=drops)
        assert np.array_equal(result.total, expected_sum(inputs, drops, result.threshold))
        with pytest.raises(SkippedRound) as caught:
            simulate(inputs, mode=mode, drops=dict.fromkeys(range(most + 1), stage))
        assert caught.value.stage == stage
        assert caught.value.remaining < caught.value.threshold
        assert "The model is unchanged" in str(caught.value)


def test_small_sparse_groups_tolerate_the_same() -> None:
    """Twelve clients with six neighbours each: any three may be lost."""
    inputs = np.arange(24, dtype=np.uint32).reshape(12, 2)
    for lost in itertools.islice(itertools.combinations(range(12), 3), 0, None, 7):
        drops = {i: STAGES[1 + at] for at, i in enumerate(lost)}
        total = simulate(inputs, neighbours=6, drops=drops).total
        assert np.array_equal(total, expected_sum(inputs, drops, 0))


def test_a_sum_over_two_clients_is_not_given_out() -> None:
    inputs = np.ones((5, 2), np.uint32)
    assert simulate(inputs, threshold=2, drops={0: "mask", 1: "mask"}).total.tolist() == [3, 3]
    for stage in ("advertise", "share", "mask"):
        with pytest.raises(SkippedRound) as caught:
            simulate(inputs, threshold=2, drops=dict.fromkeys(range(3), stage))
        assert (caught.value.remaining, caught.value.threshold) == (2, 3)
    late = simulate(inputs, threshold=2, drops=dict.fromkeys(range(3), "unmask"))
    assert late.total.tolist() == [5, 5]


@pytest.mark.parametrize("width", [1, 9, 32, 33, 64])
def test_modular_sums_wrap_around_and_exact_ones_may_not(width: int) -> None:
    draw = np.random.default_rng(width)
    inputs = draw.integers(0, 2**width, (5, 40), dtype=np.uint64)
    inputs[:, 0] = 2**width - 1
    result = simulate(inputs, width=width, modular=True, drops={1: "mask"})
    alive = [sum(int(x) for x in column) for column in np.delete(inputs, 1, axis=0).T]
    assert result.total.tolist() == [total % 2**width for total in alive]
    plain = simulate(inputs, width=width, modular=True, drops={1: "mask"}, mode="off")
    assert np.array_equal(plain.total, result.total)
    with pytest.raises(ConfigError, match=f"does not fit into {width} bits"):
        simulate(inputs, width=width)


def test_a_smaller_ring_costs_fewer_bytes() -> None:
    """1,000 elements below 256 of four clients: 10 bits instead of 32."""
    inputs = np.full((4, 1000), 255, np.uint32)
    small, wide = simulate(inputs, width=10), simulate(inputs)
    assert small.total.tolist() == wide.total.tolist() == [1020] * 1000
    assert wide.bytes_up - small.bytes_up == 4 * (4000 - 1250)


def test_impossible_rings_are_refused() -> None:
    inputs = np.full((3, 2), 200, np.uint32)
    for width in (0, 65):
        with pytest.raises(ConfigError, match="between 1 and 64 bits"):
            simulate(inputs, width=width)
    with pytest.raises(DataError, match=r"below 2\*\*7"):
        simulate(inputs, width=7, modular=True)


def random_sums(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(count):
        n, m = int(draw.integers(3, 13)), int(2 ** draw.uniform(0, 12))
        bits, mode = int(draw.integers(8, 33)), MODES[draw.integers(2)]
        neighbours = int(draw.integers(2, n))
        holders = neighbours + (neighbours % 2 if neighbours < n - 1 else 0) + 1
        low = holders // 2 + 1 if mode == "malicious-server" else 2
        threshold = int(draw.integers(min(low, neighbours), neighbours + 1))
        if mode == "malicious-server" and 2 * threshold <= holders:
            mode = "semi-honest"
        inputs = draw.integers(0, 2**bits, (n, m), dtype=np.uint64)
        fewest = (n * int(inputs.max())).bit_length()
        width = int(draw.integers(max(fewest, 1), 65)) if draw.integers(2) else None
        options = {"threshold": threshold, "neighbours": neighbours, "mode": mode}
        result = simulate(inputs, width=width, **options)
        assert np.array_equal(result.total, inputs.sum(axis=0)), (n, m, bits, neighbours, threshold)


def test_random_sums_are_exact() -> None:
    random_sums(60, seed=1)


@pytest.mark.slow
def test_500_random_sums_are_exact() -> None:
    random_sums(500, seed=2)


@pytest.mark.parametrize("mode", MODES)
def test_sampled_dropout_patterns(mode: str) -> None:
    check_patterns(mode, np.random.default_rng(3).choice(5**6, 60, replace=False))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_all_dropout_patterns_of_six(mode: str) -> None:
    check_patterns(mode, np.arange(5**6))


def check_patterns(mode: str, chosen: np.ndarray) -> None:
    """Each client stays, or is lost before one of four stages."""
    stages = (None, "advertise", "share", "mask", "unmask")
    patterns = list(itertools.product(stages, repeat=6))
    inputs = np.arange(1, 13, dtype=np.uint32).reshape(6, 2) ** 3
    for at in chosen:
        drops = {i: stage for i, stage in enumerate(patterns[at]) if stage}
        got = outcome(
            lambda drops=drops: simulate(inputs, threshold=4, mode=mode, drops=drops).total
        )
        assert equal(got, expected_sum(inputs, drops, 4)), drops


def predicted(session: Session, lost: dict[int, str]) -> set[int] | None:
    """The survivors by the rule, with plain sets; None for a skipped round."""
    threshold, everybody = session.server.plan.threshold, set(range(len(session.parties)))
    present = {
        stage: everybody - {i for i, at in lost.items() if STAGES.index(at) <= STAGES.index(stage)}
        for stage in STAGES
    }
    quorum = threshold + 1  # oneself and t neighbours
    if len(present["advertise"]) < quorum:
        return None
    roster = session.server._roster
    holders = {
        m.number: {roster.members[at].number for at in roster.holders[i]}
        for i, m in enumerate(roster.members)
    }
    sharing = set(present["share"])
    while weak := {i for i in sharing if len(holders[i] & sharing) < quorum}:
        sharing -= weak
    survivors = sharing & present["mask"]
    needed = {i for i in sharing if holders[i] & survivors}
    if any(len(holders[i] & survivors) < quorum for i in survivors):
        return None
    last = survivors & present["unmask"]
    enough = survivors and all(len(holders[i] & last) >= threshold for i in needed)
    return survivors if enough else None


def random_dropout(runs: int, seed: int) -> int:
    """n = 100, sparse graph: skipped exactly when a needed secret has too few holders."""
    draw, skipped = np.random.default_rng(seed), 0
    for run in range(runs):
        lost = np.flatnonzero(draw.random(100) < draw.uniform(0, 0.45))
        drops = {int(i): STAGES[draw.choice([0, 1, 2, 4])] for i in lost}
        session = Session(100, 3, seed=run)
        try:
            total = session.finish(drops)
        except SkippedRound:
            total = None
        survivors = predicted(session, drops)
        assert (total is None) == (survivors is None), drops
        if survivors is not None:
            assert np.array_equal(total, session.inputs[sorted(survivors)].sum(axis=0)), drops
        skipped += total is None
    return skipped


def test_random_dropout_of_a_hundred() -> None:
    random_dropout(4, seed=4)


@pytest.mark.slow
def test_random_dropout_of_a_hundred_a_thousand_times() -> None:
    assert 0 < random_dropout(1000, seed=5) < 1000


def test_a_sparse_graph_survives_what_its_bound_allows() -> None:
    draw = np.random.default_rng(6)
    inputs = draw.integers(0, 2**16, (100, 5), dtype=np.uint32)
    for mode in MODES:
        drops = {int(i): STAGES[k] for k, i in enumerate(draw.choice(100, 5, replace=False))}
        result = simulate(inputs, mode=mode, drops=drops)
        assert result.neighbours == {"semi-honest": 22, "malicious-server": 32}[mode]
        assert np.array_equal(result.total, expected_sum(inputs, drops, 0))


def test_a_client_whose_neighbours_are_lost_costs_only_itself() -> None:
    """Six of ten neighbours lost leave four of the five that it takes."""
    session = Session(40, 3, neighbours=10, threshold=5).run_to("share")
    roster = session.server._roster
    ring = roster.numbers[graph.order(roster.session, roster.numbers)].tolist()
    drops = {ring[place]: "share" for place in (15, 16, 19, 21, 24, 25)}
    total = session.finish(drops)
    assert ring[20] not in session.server.survivors
    assert len(session.server.survivors) == 40 - 6 - 1
    assert np.array_equal(total, session.inputs[list(session.server.survivors)].sum(axis=0))


def test_the_ring_is_as_narrow_as_the_inputs_allow() -> None:
    def masked_bytes(top: int) -> int:
        inputs = np.full((3, 1000), top, np.uint64)
        result = simulate(inputs)
        assert (result.total == 3 * top).all()
        return next(s.num_bytes for s in result.transcript if s.stage == "mask" and s.receiver > 3)

    limit = (2**32 - 1) // 3
    assert masked_bytes(limit) < 4200 < 8000 < masked_bytes(limit + 1)
    limit = (2**64 - 1) // 3
    assert masked_bytes(limit - 1) == masked_bytes(limit)
    with pytest.raises(ConfigError, match="does not fit into 64 bits"):
        simulate(np.full((3, 1), limit + 1, np.uint64))


def test_off_is_a_plain_sum() -> None:
    inputs = np.arange(8, dtype=np.uint32).reshape(4, 2)
    result = simulate(inputs, mode="off", drops={1: "mask", 2: "unmask"})
    assert result.total.tolist() == [10, 13]
    assert result.survivors == (0, 2, 3)


def test_a_seed_repeats_the_transcript_and_nothing_else_does() -> None:
    inputs = np.ones((4, 3), np.uint32)
    first, second, other = (simulate(inputs, seed=s).transcript for s in (1, 1, 2))
    assert first == second
    assert first != other
    assert simulate(inputs).transcript != simulate(inputs).transcript


def test_large_transcripts_keep_no_masked_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules["fedrec.secure.simulate"], "KEPT_BYTES", 100)
    result = simulate(np.ones((3, 50), np.uint32))
    assert [s.message is None for s in result.transcript if s.receiver > 3] == [False] * 6 + [
        True
    ] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "semihonest"}, "Did you mean 'semi-honest'"),
        ({"drops": {0: "masking"}}, "Did you mean 'mask'"),
        ({"drops": {9: "mask"}}, "there are 6 clients"),
        ({"neighbours": 3, "threshold": 4}, "above secure.neighbours"),
        ({"neighbours": 6}, "between 2 and 5"),
        ({"threshold": 7}, "between 2 and 6"),
        ({"threshold": 1}, "between 2 and 6"),
        ({"threshold": 3, "mode": "malicious-server"}, "must be above 3"),
    ],
)
def test_impossible_parameters_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(np.ones((6, 2), np.uint32), **options)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_are_refused(n: int) -> None:
    with pytest.raises(ConfigError, match="subtract its own input"):
        simulate(np.ones((n, 2), np.uint32))


@pytest.mark.parametrize(
    "bad",
    [np.ones((4, 2), np.int64), np.ones((4, 2)), np.ones(4, np.uint8), np.ones((4, 0), np.uint8)],
)
def test_inputs_are_unsigned_integers(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="unsigned integers"):
        simulate(bad)


def test_the_package_offers_the_function() -> None:
    assert callable(fedrec.secure.simulate)
