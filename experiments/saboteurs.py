"""Measure whether saboteurs and free-riders among merchants are found, and what defends.

    python experiments/saboteurs.py [--json FILE]

Detection: a merchant is suspected if its figure is below that of all but FALSE_ALARMS of the
merchants in honest federations of other marketplaces (CALIBRATION).  Figures are contributions
from updates in clear, from utilities of random groups as with secure aggregation, and from
updates guessed from the groups' sums; and how well a guessed update goes along with the others'
(`fedrec.contribution.rebuilt.alignment`).  Effect: NDCG@10 of honest
merchants' customers on test, and to how many of them the promoted item is recommended.
Federations that stand in FILE already, with the same configuration, are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from fedrec.audit.poisoning import measure as measure_effect
from fedrec.audit.rounds import State
from fedrec.config import Config, Scalar, integers
from fedrec.contribution.estimates import from_groups, from_updates, of_round
from fedrec.contribution.federation import Round, play, retrain
from fedrec.contribution.groups import cut, measured, parts_of
from fedrec.contribution.rebuilt import Opened, alignment, guess
from fedrec.engine.server_side import AppServer
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.results import plain_numbers
from fedrec.robust.attacks import make_plot
from fedrec.robust.updates import as_partial_sum
from fedrec.training.node import Setup, prepare

HERE = Path(__file__).resolve().parent
ATTACKS = ("noise", "stale", "promote")
WHO = (0, 3)
"""Merchants that attack, one in each federation: the biggest, and a small one."""
CALIBRATION = tuple(range(100, 108))
"""Seeds of the honest federations that the threshold comes from."""
CHECKED = tuple(range(200, 208))
"""Seeds of more honest federations, in which false alarms are counted."""
FALSE_ALARMS = 0.05
"""Part of the honest merchants of the calibration that the threshold would suspect."""
SOURCES = ("updates", "groups", "rebuilt", "alignment")
DEFENCES = ("off", "norm-bound", "row-clip", "leave out")
GROUPS = 2
Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A federation to be measured.

    Attributes:
        seed: of its marketplace.
        attack: one of ATTACKS, or "off".
        who: the merchant that attacks; -1 for none.
    """

    seed: int
    attack: str
    who: int


def cases(base: Config) -> list[Case]:
    """Return all federations whose merchants are judged, honest ones first."""
    seeds = integers(base, "compare.seeds")
    honest = [Case(seed, "off", -1) for seed in (*CALIBRATION, *CHECKED, *seeds)]
    return honest + [Case(s, attack, who) for s in seeds for attack in ATTACKS for who in WHO]


def configured(base: Config, case: Case, **more: Scalar) -> Config:
    """Return the configuration of a case."""
    keys: dict[str, Scalar] = {"run.seed": case.seed, "data.data_seed": case.seed}
    if case.who >= 0:
        keys |= {"robust.attack": case.attack, "robust.who": str(case.who)}
    return base.with_({**keys, **{k.replace("__", "."): v for k, v in more.items()}})


def judged(base: Config, case: Case) -> Figures:
    """Train a federation and return what each merchant seems to contribute."""
    setup = prepare(configured(base, case))
    rounds = play(setup, AppServer)
    last = rounds[-1]
    return {
        **vars(case),
        "effect": measured_effect(base, setup, case, State(last.number, last.after, last.personal)),
        "config_hash": setup.config.config_hash(),
        "norms": np.median([one.updates.norms for one in rounds], axis=0),
        "rows": _row_norm(rounds),
        "contributions": {"updates": from_updates(setup, rounds).values,
                          **by_groups(setup, rounds)},
    }  # fmt: skip


def by_groups(setup: Setup, rounds: tuple[Round, ...]) -> dict[str, NDArray[np.float64]]:
    """Return the figures that sums of groups tell of each merchant."""
    players, seed = setup.population.num_clients, setup.config.run.seed
    cuts = [cut(seed, one.number, players, GROUPS) for one in rounds]
    told = [measured(of_round(setup, r), c) for r, c in zip(rounds, cuts, strict=True)]
    opened = [Opened(r.number, c, tuple(as_partial_sum(r.updates.take(g)) for g in c))
              for r, c in zip(rounds, cuts, strict=True)]  # fmt: skip
    return {
        "groups": parts_of(told, players).values,
        "rebuilt": from_groups(setup, rounds, opened).values,
        "alignment": alignment(guess(opened, players, rounds[0].before)),
    }


def _row_norm(rounds: tuple[Round, ...]) -> float:
    return float(np.median(np.linalg.norm(rounds[0].updates.rows, axis=1)))


def detection(runs: list[Figures]) -> list[Figures]:
    """Return how well attackers are told from honest merchants, by attack and source."""
    calm = [run for run in runs if run["who"] < 0]
    found = []
    for source in SOURCES:
        threshold = threshold_of(runs, source)
        for attack in ATTACKS:
            attacked = [run for run in runs if run["attack"] == attack]
            bad = np.array([r["contributions"][source][r["who"]] for r in attacked])
            good = np.concatenate([np.delete(r["contributions"][source], r["who"])
                                   for r in attacked])  # fmt: skip
            found.append(
                {
                    "source": source,
                    "attack": attack,
                    "threshold": threshold,
                    "attackers": len(bad),
                    "detected": float((bad < threshold).mean()),
                    "not_positive": float((bad <= 0).mean()),
                    "false_alarms": float((good < threshold).mean()),
                    "auc": auc(good, bad),
                }
            )
        others = [r["contributions"][source] for r in calm if r["seed"] not in CALIBRATION]
        alarms = float((np.concatenate(others) < threshold).mean())
        found.append({"source": source, "attack": "off", "threshold": threshold,
                      "honest": sum(map(len, others)), "false_alarms": alarms})  # fmt: skip
    return found


def threshold_of(runs: list[Figures], source: str) -> float:
    """Return the figure below which a merchant is suspected."""
    calm = [r["contributions"][source] for r in runs if r["seed"] in CALIBRATION]
    return float(np.quantile(np.concatenate(calm), FALSE_ALARMS))


def auc(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """Return the chance that one of `high` is above one of `low`, ties half."""
    above = high[:, None] - low[None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def measured_effect(base: Config, setup: Setup, case: Case, state: State) -> Figures:
    """Return exposure and accuracy for honest merchants' customers on test."""
    named = configured(base, Case(case.seed, "promote", max(case.who, 0)))
    plot = make_plot(named, setup.population, case.attack)
    told = measure_effect(setup, state, plot, "").to_json()
    keys = ("exposure", "exposure_interval", "accuracy", "accuracy_interval", "k")
    return {key: told[key] for key in keys}


def defended(base: Config, case: Case, defence: str, judge: Judge) -> Figures:
    """Return what an attack does under a defence."""
    section: dict[str, Scalar] = {}
    if defence in ("norm-bound", "row-clip"):
        norm = judge.norm if defence == "norm-bound" else judge.row_norm
        section = {"robust__defence": defence, "robust__norm": norm}
    setup = prepare(configured(base, case, **section))
    left_out: list[int] = []
    if defence == "leave out":
        left_out = judge.suspects(case)
        members = frozenset(range(setup.population.num_clients)) - set(left_out)
        state = retrain(setup, AppServer, members)
    else:
        last = play(setup, AppServer)[-1]
        state = State(last.number, last.after, last.personal)
    return {**vars(case), "defence": defence, "left_out": left_out,
            **measured_effect(base, setup, case, state)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Judge:
    """What is known before a federation defends itself.

    Attributes:
        norm: median norm of honest merchants' updates, in the calibration.
        row_norm: that of their rows in the first round.
        suspects: a case -> the merchants whose guessed updates go along with no others'.
    """

    norm: float
    row_norm: float
    suspects: Callable[[Case], list[int]]


def judge_of(runs: list[Figures]) -> Judge:
    """Return bounds from the calibration, and who is suspected by alignment."""
    calm = [r for r in runs if r["who"] < 0 and r["seed"] in CALIBRATION]
    threshold = threshold_of(runs, "alignment")
    by_case = {(r["seed"], r["attack"], r["who"]): r for r in runs}

    def suspects(case: Case) -> list[int]:
        values = np.array(by_case[case.seed, case.attack, case.who]["contributions"]["alignment"])
        return np.flatnonzero(values < threshold).tolist()

    norms, rows = [r["norms"] for r in calm], [r["rows"] for r in calm]
    return Judge(float(np.median(norms)), float(np.median(rows)), suspects)


def main() -> None:
    """Measure all federations, print the figures, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--seeds", help="measure the federations of these seeds alone, no defence")
    options = parser.parse_args()
    base, before = fedrec.load_config(HERE / "saboteurs.toml"), Figures()
    if options.json is not None and options.json.is_file():
        before = json.loads(options.json.read_text(encoding="utf-8"))
    runs, effects = list[Figures](), list[Figures]()
    some = None if options.seeds is None else {int(seed) for seed in options.seeds.split()}

    def save() -> None:
        if options.json is not None:
            figures = {"config": base.flat(), "calibration": CALIBRATION, "groups": GROUPS,
                       "false_alarms": FALSE_ALARMS,
                       "runs": runs, "detection": detection(runs) if effects else [],
                       "effects": effects, "machine": describe_machine()}  # fmt: skip
            write_atomically(options.json, json.dumps(plain_numbers(figures), indent=1) + "\n")

    old = {run["config_hash"]: run for run in before.get("runs", ())}
    for case in cases(base):
        if some is not None and case.seed not in some:
            continue
        kept = old.get(configured(base, case).config_hash())
        runs.append(kept or plain_numbers(judged(base, case)))
        save()
        print(case, {k: np.round(v, 4) for k, v in runs[-1]["contributions"].items()}, flush=True)
    if some is not None:
        return
    for row in detection(runs):
        print(row, flush=True)
    judge = judge_of(runs)
    known = {(e["seed"], e["attack"], e["who"], e["defence"]): e for e in before.get("effects", ())}
    for run in runs:
        case = Case(run["seed"], run["attack"], run["who"])
        if case.seed in (*CALIBRATION, *CHECKED) or case.who not in (-1, WHO[0]):
            continue
        effects.append({**vars(case), "defence": "off", "left_out": [], **run["effect"]})
        for defence in DEFENCES[1:] if case.who >= 0 else ():
            found = known.get((case.seed, case.attack, case.who, defence))
            effects.append(found or plain_numbers(defended(base, case, defence, judge)))
            save()
            print(defence, effects[-1], flush=True)


if __name__ == "__main__":
    main()
