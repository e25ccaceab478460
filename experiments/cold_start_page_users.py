"""The users' section of the cold-start page, with a recommendation made from the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from experiments.cold_start_section import Figure, Section, Table
from fedrec.report.cold_start import curve_grid, curves_figure, k_title, mixture_grid
from fedrec.report.view import number, signed, size

Found = Mapping[str, Any]

METRICS = ("ndcg@10", "hr@10")
DETAILS = ("curves", "tests", "mixture")


def users_section(results: Found) -> Section:
    """Return the section of experiments/results/cold_start/users.json."""
    data = results["data"]
    return Section(
        "Users",
        recommendation(results),
        (about(results), misses(results)),
        tuple(figure for name, found in data.items() for figure in _figures(name, found)),
        tuple(table for name, found in data.items() for table in _tables(name, found)),
    )


def about(results: Found) -> str:
    """Return what was measured on whom."""
    sizes = "; ".join(
        f"{name}: {_range(s['warm'] for s in found['seeds'].values())} users trained and "
        f"{sum(s['strangers']['test'] for s in found['seeds'].values()):,} strangers of "
        f"{_seeds(found)} were ranked {found['items']:,} items"
        for name, found in results["data"].items()
    )
    return (
        f"{results['fraction']:.0%} of the users are held out entirely for the test and as many "
        "for validation, anew with each seed. Each stranger reveals k interactions; its latest "
        f"{results['test_items']} are to be found among all items that it had not met before "
        f"(full ranking). {sizes}. Intervals are over users, by bootstrap, and p-values are "
        f"Holm-corrected over the values of k. Made by `{results['command']}`."
    )


def misses(results: Found) -> str:
    """Return what was to be reached and was not, with what the curves say of it."""
    told = [_miss(name, found["reveal"]["latest"]) for name, found in results["data"].items()]
    return (
        "To be reached were: with 5 interactions no significant loss against the whole history, "
        f"and more than popularity from k = 1 on. {' '.join(told)}"
    )


def _miss(name: str, told: Found) -> str:
    row, curve = told["tests"]["few_against_whole"][0], told["curves"]["mixture"]
    few, (_, low, high) = row["a"][1], (row["p"], row["low"], row["high"])
    later = list(curve)[list(curve).index(few) :]
    values = [curve[k]["ndcg@10"][0] for k in later]
    shown = ", ".join(f"{number(v)} {_at(k)}" for k, v in zip(later, values, strict=True))
    best = max(zip(values, later, strict=True))[1]
    below = row["difference"] < 0 and row["p"] < 0.05
    verdict = (
        f"missed, {signed(row['difference'])} [{signed(low)}, {signed(high)}]"
        if below
        else "reached"
    )
    why = (
        "every further interaction still adds to it, so that a few cannot be enough"
        if values == sorted(values)
        else f"it is best {_at(best)}, and what lies further back takes from it"
    )
    return f"{name}: the first is {verdict}; the mixture has {shown}: {why}; {_second(told)}."


def _second(told: Found) -> str:
    """Return whether popularity is beaten at every k of at least 1, and by whom it is not."""
    single, mixed = (
        [r["a"][1] for r in told["tests"][test] if r["difference"] <= 0 or r["p_adjusted"] >= 0.05]
        for test in ("chosen_against_popularity", "mixture_against_popularity")
    )
    if not single:
        return "the second is reached"
    rest = "at some k by the mixture too" if mixed else "not by the mixture"
    return f"the second is missed by the single strategy {', '.join(map(_at, single))}, {rest}"


def _seeds(found: Found) -> str:
    number_of = len(found["seeds"])
    return f"{number_of} seeds" if number_of > 1 else "one seed"


def _range(values: Iterator[int]) -> str:
    every = sorted(set(values))
    return f"{every[0]:,}" if len(every) == 1 else f"{every[0]:,} to {every[-1]:,}"


def recommendation(results: Found) -> str:
    """Return what a platform should do, as one paragraph that follows from the figures."""
    data = results["data"]
    return " ".join(
        [_mixture_says(data), *(_data_says(name, found) for name, found in data.items())]
    )


def _mixture_says(data: Found) -> str:
    rows = [
        (name, row)
        for name, found in data.items()
        for row in found["reveal"]["latest"]["tests"]["mixture_against_best"]
    ]
    worse = [(n, r) for n, r in rows if r["difference"] < 0 and r["p_adjusted"] < 0.05]
    ahead = [r for _, r in rows if r["difference"] > 0 and r["p_adjusted"] < 0.05]
    if worse:
        where = "; ".join(f"{n} {_at(r['a'][1])} ({_gap(r)})" for n, r in worse)
        return (
            "No mixture for everything: against the single strategy that turned out best it is "
            f"significantly worse on {where}."
        )
    best = "" if not ahead else f", and significantly better in {len(ahead)} of them"
    return (
        f"Serve strangers the mixture: in {len(rows)} comparisons with the single strategy that "
        f"turned out best at its k, which nobody knows beforehand, it is never significantly "
        f"worse{best}."
    )


def _data_says(name: str, found: Found) -> str:
    told = found["reveal"]["latest"]
    said = [_choices(told), _enough(told), _popular(told)]
    return f"**{name}**: {'; '.join([*said, *_first(found)])}."


def _choices(told: Found) -> str:
    """Return which single strategy validation chooses, by ranges of k."""
    chosen, curves = told["tests"]["chosen_on_validation"], told["curves"]
    parts = []
    for name, group in groupby(chosen.items(), key=lambda pair: pair[1]):
        ks = [k for k, _ in group]
        span = _at(ks[0]) if len(ks) == 1 else f"{_at(ks[0])} to {k_title(ks[-1])}"
        values = [curves[name][k]["ndcg@10"][0] for k in ks]
        shown = (
            number(values[0]) if len(ks) == 1 else f"{number(values[0])} to {number(values[-1])}"
        )
        parts.append(f"{name} {span} ({shown})")
    return "a single strategy would be " + ", ".join(parts) + " by NDCG@10"


def _enough(told: Found) -> str:
    row = told["tests"]["few_against_whole"][0]
    (a, few), (b, _) = row["a"], row["b"]
    below = row["difference"] < 0 and row["p"] < 0.05
    words = "are not enough yet" if below else "are enough"
    return (
        f"{few} interactions {words}: {a} with these less {b} with the whole history is {_gap(row)}"
    )


def _popular(told: Found) -> str:
    single = _beats("it", told["tests"]["chosen_against_popularity"])
    return f"{single}; {_beats('the mixture', told['tests']['mixture_against_popularity'])}"


def _beats(who: str, rows: Sequence[Found]) -> str:
    beaten = [r["a"][1] for r in rows if r["difference"] > 0 and r["p_adjusted"] < 0.05]
    missed = [_at(r["a"][1]) for r in rows if r["a"][1] not in beaten]
    if not missed:
        return f"{who} beats popularity from k = {rows[0]['a'][1]} on"
    return f"{who} does not significantly beat popularity {', '.join(missed)}"


def _at(k: str) -> str:
    """Return how much is revealed as words that follow a strategy's name."""
    return f"at k = {k}" if k.isdigit() else f"with the {k_title(k)}"


def _first(found: Found) -> list[str]:
    """Return what the first interactions of a life are worth beside the latest, if measured."""
    reveal = found["reveal"]
    if "first" not in reveal:
        return []
    k = reveal["latest"]["tests"]["few_against_whole"][0]["a"][1]
    early, late = (
        reveal[which]["curves"]["mixture"][k]["ndcg@10"][0] for which in ("first", "latest")
    )
    return [
        f"the first {k} of a life give the mixture {number(early)}, the latest {k} {number(late)}"
    ]


def _gap(row: Found) -> str:
    p = row.get("p_adjusted", row["p"])
    return f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}], p = {p:.3f}"


def _figures(name: str, found: Found) -> Iterator[Figure]:
    for reveal, told in found["reveal"].items():
        what = f"{name}, the {reveal} k interactions revealed"
        yield Figure(
            what,
            curves_figure({"": told["curves"]}, METRICS, what),
            f"users-{name}-{reveal}.svg",
            f"{what}. Bars: 95% interval over strangers. The seven strategies that are best on "
            "the average are coloured, the others grey.",
        )


def _tables(name: str, found: Found) -> Iterator[Table]:
    for reveal, told in found["reveal"].items():
        grid = curve_grid(told["curves"], METRICS[0])
        yield Table(f"{name}, {reveal} k: NDCG@10", grid.head, grid.rows, folded=reveal != "latest")
    yield _cost_table(name, found)
    yield _test_table(name, found["reveal"]["latest"]["tests"])
    grid = mixture_grid(list(found["reveal"]["latest"]["mixture"].values()))
    yield Table(f"{name}: weights of the mixture by k", grid.head, grid.rows, folded=True)


def _cost_table(name: str, found: Found) -> Table:
    trained = next(iter(found["seeds"].values()))["trainings"]
    rows = []
    for strategy, own in found["strategies"].items():
        spent = trained.get(own["training"])
        sent = "–" if spent is None else f"{own['training']}: {size(spent['bytes_up_per_client'])}"
        received = size(own["bytes_down"]) if own["bytes_down"] else "–"
        rows.append((strategy, received, size(own["bytes_up"]), sent, own["privacy"]))
    head = ("strategy", "a stranger receives", "it sends", "a warm client sent in training",
            "what is known of whom")  # fmt: skip
    return Table(f"{name}: bytes and privacy", head, tuple(rows), folded=True, prose=True)


def _test_table(name: str, tests: Found) -> Table:
    rows: list[Sequence[str]] = []
    for what in (
        "few_against_whole", "chosen_against_popularity", "mixture_against_popularity",
        "mixture_against_best",
    ):  # fmt: skip
        for row in tests[what]:
            (a, k), (b, other) = row["a"], row["b"]
            pair = (f"{a} {_at(k)}", f"{b} {_at(other)}")
            p = row.get("p_adjusted", row["p"])
            gap = (signed(row["difference"]), f"{signed(row['low'])} to {signed(row['high'])}")
            rows.append((*pair, *gap, f"{p:.3f}"))
    head = ("strategy", "less", "NDCG@10", "95% interval", "p")
    return Table(f"{name}: paired differences", head, tuple(tuple(r) for r in rows), folded=True)
