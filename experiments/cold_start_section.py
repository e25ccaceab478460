"""A section of the cold-start page, before it is Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        title: what it shows, for those who cannot see it.
        svg: as `fedrec.report.plots.figure_of` saves it.
        file: name of its file beside README.md.
        caption: below it.
    """

    title: str
    svg: str
    file: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: above it.
        head: names of columns.
        rows: a row each.
        folded: in HTML, shown only when asked for.
        prose: its last column is a sentence.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Section:
    """What one experiment tells; texts may hold `code` and **bold**, as in Markdown.

    Attributes:
        title: its head.
        recommendation: one paragraph, generated from the figures.
        paragraphs: what was done.
        figures: in their order.
        tables: in their order, after the figures.
    """

    title: str
    recommendation: str
    paragraphs: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
