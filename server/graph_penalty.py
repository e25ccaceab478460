"""Side information as a regulariser: the item tables are smoothed along a graph of items.

To the gradient of a table Q the server adds ``server.graph_l2 * L Q``, which is that of
``graph_l2 / 2 * tr(Q^T L Q)``: half the weighted sum of squared distances between items
that are joined, their rows divided by the root of their degrees.  L is the symmetric
normalised Laplacian (Chung, Spectral Graph Theory, 1997) ``D^-1/2 (D - W) D^-1/2``; an item
without neighbours feels nothing.  The penalty is the social regularisation of Ma et al.
(WSDM 2011), with items in the place of friends; that knowledge of items helps where
interactions are few is the case of Wang et al. (KGAT, KDD 2019).

The graph is the server's own: only the mean of the clients' updates is needed, so secure
aggregation and noise are as ever.  It is not the graph of users and items of
`server.graph`, along which LightGCN propagates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Attribute, Catalogue
from fedrec.data.item_graph import Edges, read_edges
from fedrec.errors import ModelError, nearest
from fedrec.params import Shared
from fedrec.training.node import Setup

_JOINING = ("category", "tags")


@dataclass(frozen=True, eq=False)
class Laplacian:
    """``L Q = diagonal * Q - factors[0] @ (factors[1] @ ... Q)``, never a matrix [I, I].

    Attributes:
        diagonal: float32 [I].
        factors: sparse matrices whose product is [I, I].
    """

    diagonal: NDArray[np.float32]
    factors: tuple[Any, ...]

    def __call__(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return L times a table, float32 [I, d]."""
        product: Any = table
        for factor in reversed(self.factors):
            product = factor @ product
        result: NDArray[np.float32] = self.diagonal[:, None] * table - product
        return result


@dataclass(frozen=True, eq=False)
class GraphPenalty:
    """What is added to the gradients of some tables.

    Attributes:
        weight: `server.graph_l2`.
        tables: names of the tables whose rows are items.
        laplacian: of the graph of items.
    """

    weight: float
    tables: frozenset[str]
    laplacian: Laplacian

    def gradient(self, name: str, table: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what to add to the gradient of a table [I, d]; None for other tables."""
        if name not in self.tables:
            return None
        return np.float32(self.weight) * self.laplacian(table)


def from_groups(members: Any) -> Laplacian:
    """Return the Laplacian of items that are joined by what they have in common.

    Two items of a group of n are joined with the weight 1/n, so that a large group
    counts no more for an item than a small one, and the cost is that of the
    memberships: ``D - W = diag(C 1) - C N^-1 C^T``, as an item's edge to itself
    drops out of it.

    Args:
        members: sparse [I, G], 1 where an item is of a group.
    """
    import scipy.sparse as sp

    members = sp.csr_matrix(members, dtype=np.float64)
    size = np.asarray(members.sum(0)).ravel()
    count = np.asarray(members.sum(1)).ravel()
    share = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    own = members @ share  # weight of the edge to itself
    shrink = _shrinkage(count - own)
    root: Any = sp.diags(shrink) @ members @ sp.diags(np.sqrt(share))
    factor: Any = sp.csr_matrix(root.astype(np.float32))
    return Laplacian((shrink**2 * count).astype(np.float32), (factor, sp.csr_matrix(factor.T)))


def from_edges(edges: Edges, num_items: int) -> Laplacian:
    """Return the Laplacian of a graph with given edges between I items."""
    import scipy.sparse as sp

    shape = (num_items, num_items)
    half = sp.csr_matrix((edges.weight, (edges.first, edges.second)), shape)
    both: Any = half + half.T
    shrink = _shrinkage(np.asarray(both.sum(1)).ravel())
    scaled = sp.csr_matrix((sp.diags(shrink) @ both @ sp.diags(shrink)).astype(np.float32))
    return Laplacian((shrink > 0).astype(np.float32), (scaled,))


def _shrinkage(degree: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / sqrt(degree), 0 without neighbours; a group of one leaves dust of rounding."""
    alone = degree < 1e-9
    shrink: NDArray[np.float64] = np.where(alone, 0.0, 1.0 / np.sqrt(np.where(alone, 1.0, degree)))
    return shrink


def memberships(items: Catalogue, names: str) -> Any:
    """Return which item is of which group, sparse float64 [I, G].

    Each value of a category and each tag is a group, and so is a node of a category tree,
    whose levels are attributes of their own (department, category, type).

    Args:
        items: the catalogue.
        names: of category and tags attributes, separated by spaces, or "all" of these.

    Raises:
        ModelError: for other names, or if no attribute is of these kinds.
    """
    import scipy.sparse as sp

    known = {n: a for n, a in items.attributes.items() if a.kind in _JOINING}
    wanted = list(known) if names == "all" else names.replace(",", " ").split()
    for name in wanted:
        if name not in known:
            raise ModelError(
                f"server.graph_attributes names {name!r}, and the categories and tags of the items "
                f"are {', '.join(known) or 'none'}.{nearest(name, known)}"
            )
    if not wanted:
        raise ModelError(
            "server.graph = 'attributes' joins items of one category or tag, and the items of this "
            "data set have neither: name a file of edges in data.item_graph and set server.graph "
            "= 'file', or server.graph_l2 = 0"
        )
    return sp.hstack([_columns(known[name]) for name in wanted], format="csr")


def _columns(attribute: Attribute) -> Any:
    import scipy.sparse as sp

    if attribute.kind == "tags":
        return sp.csr_matrix(attribute.values, dtype=np.float64)
    known = np.flatnonzero(attribute.values >= 0)
    shape = (len(attribute.values), len(attribute.vocabulary))
    return sp.csr_matrix((np.ones(len(known)), (known, attribute.values[known])), shape)


def build_penalty(setup: Setup, shared: Shared) -> GraphPenalty | None:
    """Return the penalty that the configuration asks for, None if it asks for none.

    Args:
        setup: the prepared configuration.
        shared: initial parameters.

    Raises:
        DataError: for a file of edges that cannot be used.
        ModelError: without a graph, or a trained table of items.
    """
    config = setup.config
    if not config.server.graph_l2:
        return None
    read = {r.table for r in setup.model.row_inputs if r.entity == "item" and not r.fixed}
    tables = frozenset(read & set(shared.tables))
    if not tables:
        raise ModelError(
            f"server.graph_l2 = {config.server.graph_l2:g} moves rows of items, and model.name = "
            f"{config.model.name!r} trains none as it is set up: set it to 0"
        )
    items = setup.population.split.dataset.items
    if config.server.graph == "file":
        edges = read_edges(Path(config.data.item_graph).expanduser(), items)
        laplacian = from_edges(edges, len(items))
    else:
        laplacian = from_groups(memberships(items, config.server.graph_attributes))
    return GraphPenalty(config.server.graph_l2, tables, laplacian)
