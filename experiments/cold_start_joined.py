"""Join the seeds of the cold-start experiment on users, and test what it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedrec.coldstart.curves import Curves
from fedrec.coldstart.measure import label, told_sums
from fedrec.coldstart.mixture import MIXTURE
from fedrec.config_coldstart import WHOLE
from fedrec.evaluation.bootstrap import Paired, holm, paired
from fedrec.evaluation.sums import means, merge

METRICS = ("hr@10", "ndcg@10")
METRIC = "full.ndcg@10"
ORACLE = "oracle"
FEW = 5
"""The number of revealed interactions of which the issue asks whether they are enough."""

Keys = dict[str, Any]


def join(parts: Sequence[Curves]) -> Curves:
    """Return curves over the strangers of all seeds."""
    return {
        name: {k: merge([part[name][k] for part in parts]) for k in own}
        for name, own in parts[0].items()
    }


def told(found: Curves) -> Keys:
    """Return strategy -> k -> metric -> mean and interval, rounded to four digits."""
    return {
        name: {
            label(k): {m: [round(x, 4) for x in told_sums(sums)[m]] for m in METRICS}
            for k, sums in own.items()
        }
        for name, own in found.items()
    }


def singles(found: Curves) -> list[str]:
    """Return the strategies that are neither a mixture nor the oracle."""
    return [name for name in found if name not in (MIXTURE, ORACLE)]


def best(found: Curves, k: int) -> str:
    """Return the single strategy with the largest NDCG@10 at k."""
    return max(singles(found), key=lambda name: means(found[name][k])[METRIC])


def claims(valid: Curves, test: Curves) -> Keys:
    """Return paired tests on the joined test strangers.

    Args:
        valid: curves on validation strangers, which choose the best strategy.
        test: curves on test strangers.
    """
    ks = list(test[MIXTURE])
    chosen = {k: best(valid, k) for k in ks}
    few = FEW if FEW in ks else max(k for k in ks if k != WHOLE)
    enough = {
        (chosen[few], few): (chosen[WHOLE], WHOLE),
        (best(test, few), few): (best(test, WHOLE), WHOLE),
    }
    some = [k for k in ks if k != 0]
    return {
        "chosen_on_validation": {label(k): name for k, name in chosen.items()},
        "best_on_test": {label(k): best(test, k) for k in ks},
        "few_against_whole": [
            row(a, b, paired(test[a[0]][a[1]], test[b[0]][b[1]], METRIC)) for a, b in enough.items()
        ],
        "chosen_against_popularity": against(
            test, {k: (chosen[k], "popularity") for k in some if chosen[k] != "popularity"}
        ),
        "mixture_against_popularity": against(test, dict.fromkeys(some, (MIXTURE, "popularity"))),
        "mixture_against_best": against(test, {k: (MIXTURE, best(test, k)) for k in ks}),
        "mixture_against_chosen": against(test, {k: (MIXTURE, chosen[k]) for k in ks}),
    }


def against(found: Curves, pairs: Mapping[int, tuple[str, str]]) -> list[Keys]:
    """Return a comparison for each k, with Holm's correction over all of them."""
    made = [(k, a, b, paired(found[a][k], found[b][k], METRIC)) for k, (a, b) in pairs.items()]
    corrected = holm([one.p_value for *_, one in made])
    return [
        row((a, k), (b, k), one) | {"p_adjusted": round(p, 4)}
        for (k, a, b, one), p in zip(made, corrected, strict=True)
    ]


def row(a: tuple[str, int], b: tuple[str, int], found: Paired) -> Keys:
    """Return a comparison as plain data: the first minus the second."""
    return {
        "a": [a[0], label(a[1])],
        "b": [b[0], label(b[1])],
        "difference": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p": round(found.p_value, 4),
    }
