"""A comparison of merchants on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedrec.report.merchants_text import FOUND, KEY, QUALITY, by_metric, clusters_told
from fedrec.report.tables import console
from fedrec.report.view import number, signed

if TYPE_CHECKING:
    from rich.console import Console

    from fedrec.results import Result

_STYLES = {"join": "green", "stay out": "red"}


def print_merchants(result: Result, to: Console | None = None) -> None:
    """Print each merchant's answer and gains; of a result that holds a comparison of them."""
    from rich.table import Table
    from rich.text import Text

    to = to or console()
    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("merchant")
    shown.add_column("answer")
    for title in ("NDCG@10 alone", "together", "gain", "Recall@20 gain", "customers"):
        shown.add_column(title, justify="right")
    shown.add_column("how sure")
    told: Mapping[str, Any] = result.extra[KEY]
    for shop in told["merchants"]:
        quality, found = (by_metric(shop["gains"], m) for m in (QUALITY, FOUND))
        answer = shop["verdict"]["answer"]
        shown.add_row(
            Text(str(shop["name"])),
            Text(answer, style=_STYLES.get(answer, "")),
            number(quality["second"]),
            number(quality["first"]),
            signed(quality["difference"]),
            signed(found["difference"]),
            str(shop["tested_customers"]),
            Text(shop["verdict"]["sure"], style="dim"),
        )
    to.print()
    to.print(shown)
    for line in clusters_told(told):
        to.print(Text(line, style="dim"))


def markdown_merchants(result: Result) -> str:
    """Return each merchant's answer and gains as a Markdown table, and who trained in groups."""
    head = ("merchant", "answer", "NDCG@10 alone → together", "gain", "Recall@20 gain",
            "customers", "how sure")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---|---|---:|---:|---:|---:|---|"]
    for shop in result.extra[KEY]["merchants"]:
        quality, found = (by_metric(shop["gains"], m) for m in (QUALITY, FOUND))
        cells = (
            str(shop["name"]),
            shop["verdict"]["answer"],
            f"{number(quality['second'])} → {number(quality['first'])}",
            _with_ends(quality),
            _with_ends(found),
            f"{shop['tested_customers']:,}",
            shop["verdict"]["sure"],
        )
        lines.append("| " + " | ".join(cells) + " |")
    told = " ".join(line.removesuffix(".") + "." for line in clusters_told(result.extra[KEY]))
    return "\n".join([*lines, *(["", told] if told else [])])


def _with_ends(gain: Mapping[str, Any]) -> str:
    text = f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return text.replace("-", "−")
