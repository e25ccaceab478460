"""The figures of merchants.html, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedrec.report.plots import INK, MUTED, SERIES, figure_of

GOOD, BAD = SERIES[3], SERIES[5]
_PANELS = (
    ("recall@20", 100.0, "purchases found, percentage points"),
    ("ndcg@10", 1.0, "first ten (NDCG@10)"),
)


def gains(shops: Sequence[Mapping[str, Any]], overall: Mapping[str, Any]) -> str:
    """Return each shop's gain of training together over alone, with its 95% interval.

    Args:
        shops: elements of `merchants`.
        overall: over all customers, drawn below.
    """
    names = [str(shop["name"]) for shop in shops] + ["all customers"]
    with figure_of(9.2, 0.9 + 0.32 * len(names)) as (figure, save):
        panels = figure.subplots(1, len(_PANELS), sharey=True)
        for axes, (metric, scale, title) in zip(panels, _PANELS, strict=True):
            for y, one in enumerate((*shops, overall)):
                gain = next(g for g in one["gains"] if g["metric"] == metric)
                sure = gain["p_adjusted"] is not None and gain["p_adjusted"] < 0.05
                color = (GOOD if gain["difference"] > 0 else BAD) if sure else MUTED
                ends = [scale * gain["low"], scale * gain["high"]]
                axes.plot(ends, [y, y], color=color, linewidth=2.2, alpha=0.6)
                axes.plot([scale * gain["difference"]], [y], "o", color=color, markersize=6)
            axes.axvline(0.0, color=INK, linewidth=0.9)
            axes.axhline(len(names) - 1.5, color=MUTED, linewidth=0.6, linestyle=(0, (3, 3)))
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            axes.set_title(title, fontsize=9.5)
            axes.margins(y=0.06)
        first = panels[0]
        first.set_yticks(range(len(names)), names)
        first.invert_yaxis()
        for label in first.get_yticklabels():
            label.set_color(INK)
        first.get_yticklabels()[-1].set_fontweight("bold")
        return save("Gain of each shop with its 95% interval")


def systems(values: Mapping[str, Mapping[str, float]], titles: Mapping[str, str]) -> str:
    """Return what lists of 20 find under each system, over all customers.

    Args:
        values: system -> metric -> mean.
        titles: what systems are called.
    """
    names = list(values)
    with figure_of(9.2, 0.7 + 0.34 * len(names)) as (figure, save):
        axes = figure.subplots()
        shares = [100.0 * values[name]["recall@20"] for name in names]
        colors = [SERIES[0] if name in ("federated", "personalised") else MUTED for name in names]
        axes.barh(range(len(names)), shares, height=0.6, color=colors, alpha=0.85)
        for y, share in enumerate(shares):
            axes.text(share, y, f" {share:.1f}%", va="center", color=INK, fontsize=9.5)
        axes.set_yticks(range(len(names)), [titles[name] for name in names])
        for label in axes.get_yticklabels():
            label.set_color(INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        axes.set_title("held-back purchases found in lists of 20, all customers")
        return save("Purchases found by each way to train")
