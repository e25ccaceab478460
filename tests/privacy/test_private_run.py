"""Private runs from end to end: sensitivity, budget, resume, refusals, statements."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import CheckpointError, ConfigError, MissingExtraError, OutputError
from fedrec.params import PartialSum, Shared
from fedrec.privacy.ledger import Event, Ledger
from fedrec.privacy.policy import WITHIN
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.node import Setup, init_personal, init_shared, prepare, train_node
from tests.engine.test_resume import outcome, run_until_killed

Make = Callable[..., Config]

CENTRAL: dict[str, Any] = {
    "server__rows": "sum",
    "clients__sampling": "poisson",
    "clients__per_round": 10,
    "privacy__mechanism": "central",
    "privacy__clip": 0.5,
    "privacy__noise_multiplier": 1.0,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
}
SEEDED = {**CENTRAL, "privacy__draws": "seeded"}


def system(config: Config) -> dict[str, Any]:
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


def lines(config: Config) -> list[dict[str, Any]]:
    files = RunDirectory(Path(config.run.out))
    return [json.loads(text) for text in files.rounds.read_text().splitlines()]


def state(config: Config) -> dict[str, Any]:
    return read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[1]["privacy"]


def vector(total: PartialSum, shared: Shared) -> np.ndarray:
    tables = [total.tables[n].dense(len(v)).ravel() for n, v in shared.tables.items()]
    return np.concatenate([*tables, *(w.ravel() for w in total.weights.values())])


# Sensitivity -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"model__name": "ncf", "model__mlp": "8 4", "train__optimizer": "adam"},
        {"train__method": "alternating", "train__l2": 0.1},
        {"clients__unit": "merchant", "data__merchants": 4},
        {"privacy__pseudo_items": 7},
    ],
)
def test_without_a_client_the_sum_moves_by_at_most_the_norm(
    small_run: Make, keys: dict[str, Any]
) -> None:
    """With everything that clients really train; nobody else's part changes at all."""
    setup = prepare(small_run(**{**CENTRAL, **keys}))
    everyone = np.arange(setup.population.num_clients)[:6]
    whole, shared = _trained(setup, everyone)
    clip = setup.config.privacy.clip
    moved = []
    for client in everyone:
        without, _ = _trained(setup, everyone[everyone != client])
        difference = vector(whole, shared) - vector(without, shared)
        assert np.linalg.norm(difference) <= clip * (1 + 1e-9)
        moved.append(np.linalg.norm(difference))
    assert max(moved) > 0.9 * clip  # the bound is in use
    assert 0 <= whole.metrics[WITHIN] <= len(everyone)


def _trained(setup: Setup, clients: np.ndarray) -> tuple[PartialSum, Shared]:
    shared = init_shared(setup)
    total, _ = train_node(setup, shared, init_personal(setup, clients), clients, 1)
    return total, shared


def test_clipping_does_not_touch_what_stays_on_the_client(small_run: Make) -> None:
    clear, bounded = (prepare(small_run(**k)) for k in ({"server__rows": "sum"}, CENTRAL))
    clients = np.arange(5)
    shared, personal = init_shared(clear), init_personal(clear, clients)
    ours = train_node(clear, shared, personal, clients, 1)[1]
    theirs = train_node(bounded, shared, personal, clients, 1)[1]
    assert (ours.values["user"] == theirs.values["user"]).all()


# A run -----------------------------------------------------------------------------


def test_a_private_run_says_what_it_guarantees(small_run: Make) -> None:
    config = small_run(**CENTRAL, train__rounds=4)
    execute(config)
    done = system(config)
    privacy, event = done["privacy"], Event("poisson", 1.0, 50, 10)
    delta = 50**-1.1
    assert privacy["epsilon"] == pytest.approx(Ledger().add(event, 4).epsilon(delta), abs=1e-4)
    assert privacy["delta"] == pytest.approx(delta)
    assert (privacy["unit"], privacy["rounds"], privacy["stopped"]) == ("user", 4, None)
    told = privacy["statement"]
    for words in (
        f"({privacy['epsilon']:.2f}, {delta:.1e})-differential privacy of every user",
        "not towards the server", "joint differential privacy", "chance 0.2", "added or removed",
        "Not covered",
    ):  # fmt: skip
        assert words in told
    assert "seed" not in told
    assert done["selected_round"] == 4  # not the best: to choose by exact metrics would tell
    last = lines(config)[-1]
    assert (last["private_rounds"], last["clip"], last["epsilon"]) == (4, 0.5, privacy["epsilon"])
    assert state(config) == {
        "clip": 0.5, "secret": "", "ledger": [{**event.__dict__, "count": 4}],
    }  # fmt: skip


def test_secret_draws_differ_between_runs_and_seeded_ones_do_not(small_run: Make) -> None:
    def table(name: str, keys: dict[str, Any]) -> bytes:
        config = small_run(name, **keys)
        execute(config)
        return outcome(config)["model"]

    assert table("a", SEEDED) == table("b", SEEDED)
    assert table("c", CENTRAL) != table("d", CENTRAL)
    assert "whoever knows the seed" in system(small_run("a", **SEEDED))["privacy"]["statement"]


def test_the_budget_stops_a_run_saved_and_explained(small_run: Make) -> None:
    budget = Ledger().add(Event("poisson", 1.0, 50, 10), 5).epsilon(50**-1.1) + 1e-6
    config = small_run(**SEEDED, train__rounds=30, privacy__epsilon=budget)
    execute(config)
    done, saved = system(config), state(config)
    assert [line["round"] for line in lines(config)] == [1, 2, 3, 4, 5]
    assert done["privacy"]["epsilon"] <= budget
    assert done["privacy"]["rounds"] == 5
    assert done["selected_round"] == 5
    assert done["metrics"]["test"]["full"]["hr@10"] >= 0
    for words in ("privacy budget spent: after 5 rounds", "another round", "privacy.epsilon ="):
        assert words in done["privacy"]["stopped"]
    execute(config)  # going on changes nothing, spends nothing
    assert system(config)["privacy"] == done["privacy"]
    assert state(config) == saved
    assert len(lines(config)) == 5


def test_whoever_started_the_run_is_told(small_run: Make) -> None:
    from fedrec.run import run

    events: list[dict[str, Any]] = []
    config = small_run(**CENTRAL, privacy__epsilon=1e-3)
    run(config, on_event=events.append)
    told = [event["text"] for event in events if event["event"] == "note"]
    assert len(told) == 1
    assert told[0].startswith("privacy budget spent: after 0 rounds")


def test_a_budget_below_one_round_trains_nothing(small_run: Make) -> None:
    config = small_run(**CENTRAL, privacy__epsilon=1e-3)
    execute(config)
    privacy = system(config)["privacy"]
    assert "after 0 rounds" in privacy["stopped"]
    assert (privacy["epsilon"], privacy["rounds"]) == (0.0, 0)
    assert lines(config) == []


def test_a_calibrated_run_ends_at_its_budget(small_run: Make) -> None:
    keys = {**CENTRAL, "privacy__noise_multiplier": 0.0, "privacy__epsilon": 2.0}
    config = small_run(**keys, train__rounds=4)
    execute(config)
    privacy = system(config)["privacy"]
    assert (privacy["rounds"], privacy["stopped"]) == (4, None)
    assert 1.95 < privacy["epsilon"] <= 2.0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("clip_mode", ["fixed", "adaptive"])
def test_a_killed_run_resumes_bit_by_bit(small_run: Make, after: bool, clip_mode: str) -> None:
    """Noise, samples, clip norm and ledger: the secret is in the checkpoint."""
    keys = {**SEEDED, "privacy__clip_mode": clip_mode, "engine__nodes": 2, "train__rounds": 4}
    calm = small_run("calm", **keys)
    execute(calm)
    for deliveries in (3, 10):
        killed = small_run(f"killed-{deliveries}", **keys)
        assert run_until_killed(killed, deliveries, after=after)
        run_until_killed(killed, 3, after=after)
        execute(killed)
        assert outcome(killed) == outcome(calm)
        assert state(killed) == state(calm)
        assert state(killed)["ledger"][0]["count"] == 4  # repeated rounds count once


def test_the_secret_outlives_a_crash_and_not_the_run(small_run: Make) -> None:
    config = small_run(**CENTRAL, train__rounds=4)
    run_until_killed(config, 2, after=False)
    first = state(config)
    assert len(bytes.fromhex(first["secret"])) == 32
    run_until_killed(config, 3, after=False)
    assert state(config)["secret"] == first["secret"]
    execute(config)
    assert state(config)["secret"] == ""


def test_rounds_without_clients_are_noise_like_any_other(small_run: Make) -> None:
    keys = {**SEEDED, "clients__per_round": 1, "train__rounds": 8, "clients__availability": 0.5}
    config = small_run(**keys)
    execute(config)
    told = lines(config)
    assert 0 in [line["clients"] for line in told]
    assert {line["skipped"] for line in told} == {None}
    assert system(config)["privacy"]["rounds"] == 8


def test_skipped_rounds_count_too(small_run: Make) -> None:
    keys = {**SEEDED, "clients__sampling": "fixed", "clients__dropout": 0.4, "train__rounds": 6}
    config = small_run(**keys, server__min_clients=6)
    execute(config)
    skipped = [line["skipped"] for line in lines(config)]
    assert None in skipped
    assert any(skipped)
    privacy = system(config)["privacy"]
    assert privacy["rounds"] == 6
    assert state(config)["ledger"][0]["kind"] == "fixed"
    assert "one user is replaced" in privacy["statement"]


def test_adaptive_clipping_is_recorded(small_run: Make) -> None:
    config = small_run(**{**SEEDED, "privacy__clip": 50.0}, privacy__clip_mode="adaptive",
                       train__rounds=8, privacy__clip_rate=1.0)  # fmt: skip
    execute(config)
    clips = [line["clip"] for line in lines(config)]
    assert clips[-1] < 0.75 * clips[0] < 0.75 * 50.0
    assert state(config)["clip"] == clips[-1] == system(config)["privacy"]["clip"]
    assert "follows the 0.5 quantile" in system(config)["privacy"]["statement"]


@pytest.mark.parametrize("mechanism", ["central", "local"])
def test_seeded_noise_is_the_same_on_any_number_of_nodes(small_run: Make, mechanism: str) -> None:
    keys = {**SEEDED, "privacy__mechanism": mechanism, "train__rounds": 2}
    tables = []
    for nodes in (1, 7):
        config = small_run(f"nodes-{nodes}", **keys, engine__nodes=nodes)
        execute(config)
        tables.append(
            read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]["shared/table.item"]
        )
    assert tables[0] == pytest.approx(tables[1], rel=1e-4, abs=1e-5)
    assert np.abs(tables[0]).max() > 1


def test_local_noise_says_what_it_guarantees(small_run: Make) -> None:
    config = small_run(**{**CENTRAL, "privacy__mechanism": "local"}, train__rounds=2)
    execute(config)
    told = system(config)["privacy"]
    assert "local differential privacy" in told["statement"]
    assert told["epsilon"] == pytest.approx(
        Ledger().add(Event("replace", 1.0, 1, 1), 2).epsilon(50**-1.1), abs=1e-4
    )


def test_a_node_keeps_the_key_of_its_clients_until_the_run_is_over(small_run: Make) -> None:
    keys = {**CENTRAL, "privacy__mechanism": "local", "engine__nodes": 2, "train__rounds": 2}
    config = small_run(**keys)
    assert run_until_killed(config, 6, after=False)
    found = Path(config.run.out).glob("clients/*/*/privacy.key")
    secrets = {file.read_bytes(): file.stat().st_mode & 0o777 for file in found}
    assert len(secrets) == 2
    assert {len(secret) for secret in secrets} == {32}
    assert set(secrets.values()) == {0o600}
    execute(config)
    assert not list(Path(config.run.out).glob("clients/*/*/privacy.key"))
    execute(config)  # nothing is left to do, and no key is needed for it


def test_a_broken_key_stops_the_node(small_run: Make, tmp_path: Path) -> None:
    from clients.secret import node_key

    config = small_run(**{**CENTRAL, "privacy__mechanism": "local"})
    (tmp_path / "privacy.key").write_bytes(b"short")
    with pytest.raises(OutputError, match="is not a key of 32 bytes"):
        node_key(config, tmp_path)
    assert node_key(small_run(), tmp_path) == b""
    assert node_key(small_run(**CENTRAL), tmp_path) == b""


def test_pseudo_items_travel(small_run: Make) -> None:
    keys = {"server__rows": "sum", "train__rounds": 2, "privacy__draws": "seeded"}
    clear, hidden = (
        small_run("clear", **keys),
        small_run("hidden", **keys, privacy__pseudo_items=20),
    )
    execute(clear)
    execute(hidden)
    assert lines(hidden)[0]["bytes_up"] > 1.2 * lines(clear)[0]["bytes_up"]
    told = system(hidden)["privacy"]
    assert told["epsilon"] is None
    assert "20 random items hide which items it touched, without any guarantee" in told["statement"]
    assert told["statement"].startswith("not private")


def test_clipping_alone_guarantees_nothing(small_run: Make) -> None:
    config = small_run(**{**CENTRAL, "privacy__noise_multiplier": 0.0})
    execute(config)
    privacy = system(config)["privacy"]
    assert (privacy["epsilon"], privacy["delta"]) == (None, None)
    assert "no noise is added, so nothing is guaranteed" in privacy["statement"]


def test_the_budget_that_no_noise_keeps_is_refused_at_once(small_run: Make) -> None:
    keys = {**CENTRAL, "privacy__clip_mode": "adaptive", "privacy__count_noise": 0.1}
    with pytest.raises(ConfigError, match="privacy.count_noise = 0.1 spends more"):
        execute(small_run(**keys))


def test_without_the_accountant_nothing_starts(
    small_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    config = small_run(**CENTRAL)
    with pytest.raises(MissingExtraError, match="dp-accounting"):
        execute(config)
    assert not RunDirectory(Path(config.run.out)).checkpoint.exists()


def test_a_damaged_privacy_state_is_refused() -> None:
    from server.privacy import PrivacyState

    whole = PrivacyState(0.5, Ledger().add(Event("poisson", 1.0, 50, 10)), "ab")
    assert PrivacyState.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    with pytest.raises(CheckpointError, match="privacy state of the checkpoint cannot be read"):
        PrivacyState.from_json({"clip": 1.0})


def test_a_run_without_privacy_has_no_trace_of_it(small_run: Make) -> None:
    config = small_run()
    execute(config)
    assert "privacy" not in read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[1]
    assert not {"clip", "within_clip", "private_rounds", "epsilon"} & lines(config)[0].keys()
    assert system(config)["privacy"]["statement"].startswith("not private: interactions")
