"""Phases that see a part of a round's samples: the support, or the query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fedrec.data.batches import Samples
from fedrec.training.rows import RowIndex, Touched

if TYPE_CHECKING:
    from fedrec.training.cohort import CohortUpdate


def part_of(
    samples: Samples, touched: Mapping[str, Touched], part: str
) -> tuple[Samples, Mapping[str, Touched]]:
    """Return the samples of a part, and their places among all rows that are touched.

    Args:
        samples: of C clients.
        touched: entity -> the rows of all samples.
        part: "all", "support" or "query".

    Raises:
        ValueError: if the samples are not split.
    """
    if part == "all":
        return samples, touched
    if samples.query is None:
        raise ValueError(f"the samples are not split, and a phase asks for the {part}")
    chosen = np.flatnonzero(samples.query == (part == "query"))
    own = replace(
        samples,
        client=samples.client[chosen],
        fields={name: ids[chosen] for name, ids in samples.fields.items()},
        label=samples.label[chosen],
        weight=samples.weight[chosen],
        order=samples.order[chosen],
        query=samples.query[chosen],
        touched=None,
    )
    return own, {
        entity: Touched(one.index, {name: place[chosen] for name, place in one.places.items()})
        for entity, one in touched.items()
    }


def rows_of_query(
    update: CohortUpdate, query: Mapping[str, Touched], entities: Mapping[str, str]
) -> CohortUpdate:
    """Leave out the rows of shared tables that only the support touches: they have not moved.

    What a client sends does not even name them.

    Args:
        update: of C clients, with rows for all samples.
        query: entity -> all rows, and the places of the query samples among them.
        entities: table name -> entity.
    """
    rows, index = dict(update.rows), dict(update.index)
    for table, entity in entities.items():
        if entity == "user":  # these stay with the client, and its support moves them
            continue
        every = index[table]
        moved = np.zeros(len(every.ids), bool)
        for place in query[entity].places.values():
            moved[place] = True
        rows[table] = update.rows[table][moved]
        index[table] = RowIndex(
            every.client[moved], every.ids[moved], every.num_rows, every.num_clients
        )
    return replace(update, rows=rows, index=index)
