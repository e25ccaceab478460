"""Panels of accuracy against its price, as files."""

import sys

import pytest

from fedrec.errors import MissingExtraError
from fedrec.report.tradeoff import Panel, Series, draw_tradeoff, free_side

INF = float("inf")
SERIES = Series("noisy line", (1, 4, INF), (0.1, 0.2, 0.3), (0.0, 0.1, 0.2), (0.2, 0.3, 0.4))


def test_it_writes_both_files_with_every_word(tmp_path):
    left = Panel("left title", "budget", "accuracy", (SERIES,), {"popular level": 0.25})
    right = Panel("right title", "bytes", "accuracy", ())
    files = draw_tradeoff([[left, right]], tmp_path / "plot")
    assert [f.name for f in files] == ["plot.png", "plot.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    svg = files[1].read_text()
    for word in ("left title", "right title", "budget", "noisy line", "popular level", "∞"):
        assert f"<!-- {word}" in svg, word


def test_the_same_figures_give_the_same_files(tmp_path):
    rows = [[Panel("title", "x", "y", (SERIES,))]]
    for first, second in zip(
        draw_tradeoff(rows, tmp_path / "a"), draw_tradeoff(rows, tmp_path / "b"), strict=True
    ):
        assert first.read_bytes() == second.read_bytes()


def test_without_matplotlib_it_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="report"):
        draw_tradeoff([[Panel("title", "x", "y", (SERIES,))]], tmp_path / "plot")


def test_a_level_is_named_where_no_line_runs():
    assert free_side((SERIES,), 0.1) == 1  # the line begins there
    assert free_side((SERIES,), 0.3) == 0
    assert free_side((), 0.3) == 1
