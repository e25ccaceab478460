"""How well are items without a common id linked by what is written about them?

    python experiments/item_linkage.py [--json FILE]

The committed figures come from --json experiments/results/align/linkage.json.

Products of Complete Journey that their description tells apart are put into two catalogues,
60% of each in both, and the second is written by another shop: words are cut and shuffled,
letters lost, units rewritten, a third of the makers missing.  300 of the common ones are
known (they have a common id, say): on them confidence is fitted.  Precision, recall and
calibration are of the others, which no fit has seen.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedrec import __version__
from fedrec.align.cards import make_cards
from fedrec.align.link import Links, link
from fedrec.config import from_flat
from fedrec.data.load import load_raw
from fedrec.machine import describe_machine

EACH, COMMON, KNOWN, SEEDS = 2000, 1200, 300, (0, 1, 2)
COLUMNS = ("title", "category", "brand", "maker")
KEY = "agreed words of both shops"
LEVELS = (0.5, 0.8, 0.9, 0.95)


def products() -> pd.DataFrame:
    """Return the products that their description tells apart, with a title."""
    items = load_raw(
        from_flat({"data.name": "complete-journey", "data.level": "product"}).data
    ).items
    columns = {name: _words(attribute) for name, attribute in items.attributes.items()}
    frame = pd.DataFrame(columns).rename(
        columns={
            "product_type": "title",
            "product_category": "category",
            "manufacturer_id": "maker",
        }
    )
    frame = frame[list(COLUMNS)]
    frame = frame[frame["title"] != ""]
    return frame[~frame.duplicated(keep=False)].reset_index(drop=True)


def _words(attribute: Any) -> list[str]:
    names = (*map(str, attribute.vocabulary), "")
    return [names[code] for code in attribute.values]


def disguised(frame: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Return the same products as another shop writes them."""

    def title(text: str) -> str:
        words = [w[: draw.integers(4, 7)] if len(w) > 6 and draw.random() < 0.3 else w for w in
                 text.replace("/", " ").replace("-", " ").split()]  # fmt: skip
        draw.shuffle(words)
        return "".join(c for c in " ".join(words) if draw.random() > 0.04)

    other = frame.copy()
    other["title"] = [title(text) for text in frame["title"]]
    other["category"] = [title(text) for text in frame["category"]]
    other["maker"] = [m if draw.random() > 0.33 else "" for m in frame["maker"]]
    return other


def case(frame: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Link two catalogues; returns figures of the pairs that nobody knew."""
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(len(frame))[: 2 * EACH - COMMON]
    mine, theirs = chosen[:EACH], chosen[EACH - COMMON :]
    known = set(chosen[EACH - COMMON : EACH][:KNOWN].tolist())

    def names(some: np.ndarray) -> np.ndarray:
        return np.array([f"p{n}" if n in known else "" for n in some], dtype=object)

    start = time.process_time()
    one, rows = make_cards(frame.iloc[mine], COLUMNS, KEY, names=names(mine))
    written = disguised(frame.iloc[theirs], draw)
    other, cols = make_cards(written, COLUMNS, KEY, names=names(theirs))
    found = link(one, other)
    right = mine[rows[found.one]] == theirs[cols[found.other]]
    seconds = time.process_time() - start
    return figures(found, right, COMMON - KNOWN) | {"cpu_s": round(seconds, 2), "seed": seed}


def figures(found: Links, right: np.ndarray, possible: int) -> dict[str, Any]:
    """Return precision and recall at some confidences, and how far confidence is off."""
    levels = []
    for level in LEVELS:
        sure = found.confidence >= level
        hits, all_ = int(right[sure].sum()), int(sure.sum())
        low, high = wilson(hits, all_)
        levels.append(
            {
                "confidence": level,
                "links": all_,
                "precision": round(hits / max(all_, 1), 4),
                "precision_ci95": [round(low, 4), round(high, 4)],
                "recall": round(hits / possible, 4),
            }
        )
    bins = np.minimum((found.confidence * 10).astype(int), 9)
    gaps = [
        (bins == b).mean() * abs(right[bins == b].mean() - found.confidence[bins == b].mean())
        for b in np.unique(bins)
    ]
    return {
        "pairs": len(found),
        "calibrated": found.calibrated,
        "calibration_error": round(float(sum(gaps)), 4),
        "levels": levels,
    }


def wilson(hits: int, number: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927)."""
    if not number:
        return 0.0, 1.0
    share, square = hits / number, z * z / number
    middle = (share + square / 2) / (1 + square)
    half = z * np.sqrt(share * (1 - share) / number + square / (4 * number)) / (1 + square)
    return float(middle - half), float(middle + half)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    frame = products()
    cases = []
    for seed in SEEDS:
        cases.append(case(frame, seed))
        print(cases[-1], flush=True)
    content = {
        "products": len(frame),
        "each": EACH,
        "common": COMMON,
        "known": KNOWN,
        "columns": list(COLUMNS),
        "cases": cases,
        "machine": describe_machine(),
        "fedrec": __version__,
        "date": date.today().isoformat(),
    }
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
