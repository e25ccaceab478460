"""merchants.html: whether each shop should train with the others, for those who decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedrec.output import write_atomically
from fedrec.report import merchants_plots
from fedrec.report.audit import load_audit
from fedrec.report.contribution import contributions_told, load_contributions, merchants_entry
from fedrec.report.merchants_text import (
    FOUND,
    KEY,
    QUALITY,
    answer,
    by_metric,
    clusters_told,
    lead,
)
from fedrec.report.page import fill
from fedrec.report.view import duration, number, size
from fedrec.results import RESULT_FILE, Result, load_result

TEMPLATE = "merchants.html"
PAGE = "merchants.html"
TITLES = {
    "alone": "alone",
    "federated": "together",
    "personalised": "together, personalised",
    "clustered": "together in groups that sell alike",
    "pooled": "all data in one place",
    "linked": "all data in one place, customers recognised across shops",
}


def compares_merchants(directory: Path) -> bool:
    """Return whether a finished comparison of merchants lies in a directory.

    Raises:
        OutputError: if its result cannot be read.
    """
    return (directory / RESULT_FILE).is_file() and KEY in load_result(directory).extra


def write_merchants(directory: Path, out: Path, beside: Sequence[Path] = ()) -> Path:
    """Write the page of a finished comparison of merchants.

    Contributions and audits, as contribution.json and audit.json, get their sections.

    Args:
        directory: with its result.json; contributions and audits in it are taken first.
        out: the file to write; its directory is created.
        beside: directories of other commands, whose contributions of the same merchants, and
            whose audits, are taken.

    Returns:
        The file.

    Raises:
        OutputError: if the result cannot be read or the page cannot be written.
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    every = (directory, *beside)
    write_atomically(out, merchants_page(_with_findings(load_result(directory), every)))
    return out


def left_out(directory: Path, beside: Sequence[Path]) -> list[Path]:
    """Return where contributions lie that are of other merchants than a comparison's.

    Args:
        directory: of the comparison.
        beside: directories of other commands.

    Raises:
        OutputError: if a file cannot be read.
    """
    names = _names(load_result(directory).extra[KEY])
    contributions = {place: load_contributions(place) for place in beside}
    return [place for place, c in contributions.items() if c and _names(c) != names]


def _names(told: Mapping[str, Any]) -> set[str]:
    return {one["name"] for one in told["merchants"]}


def _with_findings(result: Result, directories: Sequence[Path]) -> Result:
    """Return the result with what other commands have found out about the same merchants."""
    told = dict(result.extra[KEY])
    contributions = (load_contributions(d) for d in directories)
    brought = next((c for c in contributions if c and _names(c) == _names(told)), None)
    audit = next((a for a in map(load_audit, directories) if a is not None), None)
    if brought is not None:
        told["contributions"] = merchants_entry(brought)
    if audit is not None:
        told["audits"] = [{"title": "What attacks found", "lines": audit["findings"]}]
    return replace(result, extra={**result.extra, KEY: told})


def merchants_page(result: Result) -> str:
    """Return the page of a result that holds a comparison of merchants.

    Raises:
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    told: Mapping[str, Any] = result.extra[KEY]
    shops, overall = told["merchants"], told["overall"]
    return fill(
        TEMPLATE,
        {
            "result": result,
            "told": told,
            "title": answer(told),
            "lead": lead(told),
            "facts": _facts(result, told),
            "rows": [_row(shop) for shop in shops],
            "silent": told.get("without_test") or [],
            "gains_svg": merchants_plots.gains(shops, overall),
            "systems_svg": merchants_plots.systems(overall["values"], TITLES),
            "systems": _systems(told),
            "groups": _groups(told),
            "clusters": clusters_told(told),
            "costs": _costs(told),
            "privacy": _privacy(result),
            "contributions": contributions_told(told.get("contributions")),
            "audits": told.get("audits"),
            "settings": _settings(told),
        },
    )


def _facts(result: Result, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    overall = told["overall"]
    held = sum(shop["tested_items"] for shop in told["merchants"])
    days = float(result.config.get("split.days") or 0)
    last = f"the last {days:g} days" if days else str(result.data.get("protocol", ""))
    return [
        ("shops", str(len(told["merchants"]))),
        ("customers tested", f"{overall['customers']:,}"),
        ("held-back purchases", f"{held:,}"),
        ("held back", last),
        ("data", str(result.data.get("name", "–"))),
    ]


def _row(shop: Mapping[str, Any]) -> dict[str, Any]:
    """Return a shop's line of the table."""
    found, quality = (by_metric(shop["gains"], m) for m in (FOUND, QUALITY))
    kinds = {"join": "pass", "stay out": "fail"}
    return {
        "name": shop["name"],
        "answer": shop["verdict"]["answer"],
        "kind": kinds.get(shop["verdict"]["answer"], ""),
        "sure": shop["verdict"]["sure"],
        "alone": f"{found['second']:.1%}",
        "together": f"{found['first']:.1%}",
        "change": _points(found),
        "quality": f"{quality['second']:.3f} to {quality['first']:.3f}",
        "quality_change": _interval(quality),
        "customers": f"{shop['customers']:,}",
        "tested": f"{shop['tested_customers']:,}",
        "items": f"{shop['tested_items']:,}",
        "sold": f"{shop['items']:,}",
    }


def _points(gain: Mapping[str, Any]) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    return (
        f"{100 * gain['difference']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
    ).replace("-", "−")


def _interval(gain: Mapping[str, Any]) -> str:
    text = f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return text.replace("-", "−")


def _systems(told: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return each system's figures over all customers, and its gain over alone."""
    overall = told["overall"]
    gains = {g["a"]: g for g in (*overall["gains"], *overall["others"]) if g["metric"] == FOUND}
    return [
        (
            TITLES[name],
            f"{values[FOUND]:.1%}",
            number(values[QUALITY]),
            _points(gains[name]) if name in gains else "–",
        )
        for name, values in overall["values"].items()
    ]


def _groups(told: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return the gain for new customers, head and tail items, over all shops, and where it shows.

    The last column names shops whose own interval is above or below zero.
    """
    rows = []
    for name, gain in told["overall"]["groups"].items():
        if gain is None:
            continue
        of_shops = [(s["name"], s["groups"].get(name)) for s in told["merchants"]]
        known = [(shop, one) for shop, one in of_shops if one is not None]
        up = [shop for shop, one in known if one["low"] > 0]
        down = [shop for shop, one in known if one["high"] < 0]
        seen = "; ".join(
            part for part in (f"better at {', '.join(up)}" if up else "",
                              f"worse at {', '.join(down)}" if down else "") if part
        )  # fmt: skip
        rows.append(
            (name, f"{gain['second']:.1%}", f"{gain['first']:.1%}", _points(gain), seen or "–")
        )
    return rows


def _costs(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what training together costs a shop, in bytes and time."""
    cost = told["cost"]
    rounds, hours = cost["rounds"], cost["hours"]
    up, down = cost["bytes_up_per_round"], cost["bytes_down_per_round"]
    rows = [
        ("rounds of training", f"{rounds:,}"),
        ("sent by a shop, a round", size(up)),
        ("received by a shop, a round", size(down)),
        ("sent and received by a shop in all", size((up + down) * rounds)),
    ]
    rows += [
        (f"computing: {TITLES[name]}", duration(3600 * value)) for name, value in hours.items()
    ]
    return rows


def _privacy(result: Result) -> str:
    return next(
        (str(s.privacy.get("statement")) for s in result.systems if s.kind == "federated"), ""
    )


def _settings(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was chosen on validation: one line where all shops have the same."""
    lines = []
    for name, of_shops in told["settings"].items():
        ways = {shop: ", ".join(dict.fromkeys(seeds)) for shop, seeds in of_shops.items()}
        kinds = set(ways.values())
        text = (
            next(iter(kinds))
            if len(kinds) == 1
            else "; ".join(f"{shop}: {way}" for shop, way in ways.items())
        )
        lines.append((TITLES[name], text))
    return lines
