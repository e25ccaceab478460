"""The sections of the configuration: every key, its default, type, unit and meaning."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

OptimizerName = Literal["sgd", "momentum", "adam", "adagrad", "rmsprop", "adamw", "lion"]
ScheduleName = Literal["constant", "cosine"]


class Section(BaseModel):
    """Base of all sections: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RunSection(Section):
    """What the run is called, and its seed."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][\w.-]*$", description="name of the run")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of every draw except the split's")
    out: str = Field("", description="output directory; empty: runs/<name>")
    tensorboard: bool = Field(False, description="also write TensorBoard event files")


class DataSection(Section):
    """Which interactions, and how they are cleaned."""

    name: str = Field(
        "ml-100k", description="a registered data set (fedrec data list), or 'file' with data.path"
    )
    path: str = Field("", description="own file: csv, tsv, parquet or RecBole .inter")
    cache: str = Field("", description="download cache; empty: $FEDREC_CACHE or ~/.cache/fedrec")
    user_column: str = Field("user", description="own file: column of user ids")
    item_column: str = Field("item", description="own file: column of item ids")
    rating_column: str = Field("", description="own file: column of ratings; empty: none")
    time_column: str = Field("", description="own file: column of times; empty: row order")
    merchant_column: str = Field("", description="own file: column of merchants; empty: none")
    event_column: str = Field("", description="own file: column of view/cart/purchase")
    item_file: str = Field("", description="own file: item attributes, first column the id")
    user_file: str = Field("", description="own file: user attributes, first column the id")
    catalogue_map: str = Field(
        "",
        description="own file: table of own item ids and their common names (fedrec align), "
        "which the items get as they are read; items without one are left out",
    )
    customer_map: str = Field(
        "",
        description="own file: table of merchants' own customer ids and their pseudonyms (fedrec "
        "align), by which customers of several merchants are one user; see domain.meet",
    )
    catalogue_confidence: float = Field(
        0.0, ge=0, le=1, description="catalogue_map: leave out items linked with less confidence"
    )
    item_vectors: str = Field(
        "",
        description="file of item vectors (of images, say) with their ids, which models of "
        "attributes read: .npz, .npy or .parquet",
    )
    item_graph: str = Field(
        "",
        description="server.graph = file: table of edges between items, two columns of ids and "
        "perhaps one of weights",
    )
    feedback: Literal["implicit", "explicit"] = Field(
        "implicit", description="implicit: an interaction counts; explicit: its rating counts"
    )
    min_rating: float = Field(0.0, description="implicit: drop interactions rated below this")
    rating_low: float = Field(1.0, description="explicit: lowest valid rating")
    rating_high: float = Field(5.0, description="explicit: highest valid rating")
    user_core: int = Field(0, ge=0, description="drop users with fewer items, until stable")
    item_core: int = Field(0, ge=0, description="drop items with fewer users, until stable")
    repeats: Literal["latest", "first"] = Field(
        "latest",
        description="a pair of user and item that came again stands where it came last, with its "
        "strongest event, or where it came first",
    )
    max_events_per_day: int = Field(
        0, ge=0, description="drop users with more events in a day (automated-looking); 0: keep"
    )
    level: Literal["product", "type", "category"] = Field(
        "type", description="complete-journey: what an item is"
    )
    users: int = Field(2000, ge=2, description="marketplace, zipf: number of users")
    items: int = Field(1000, ge=10, description="marketplace, zipf: number of items")
    merchants: int = Field(5, ge=1, description="marketplace: number of merchants")
    assortment: float = Field(
        0.0,
        ge=0,
        le=1,
        description="marketplace: chance at least that a merchant sells an item; 0: by its size",
    )
    price_spread: float = Field(
        0.0,
        ge=0,
        le=2,
        description="marketplace: standard deviation of merchants' log price levels and log price "
        "ranges; customers react to prices as wide apart as their shop's; 0: all at list prices",
    )
    events_per_user: float = Field(
        40.0, gt=0, description="marketplace, zipf: mean events of a user"
    )
    data_seed: int = Field(0, ge=0, description="marketplace, zipf: seed of the generator")
    store: Literal["auto", "memory", "disk"] = Field(
        "auto",
        description="file, zipf: where the population lies; disk: mapped files in the cache, "
        "the same numbers; auto: disk if it would take more than a quarter of the memory",
    )


class SplitSection(Section):
    """Which interactions are held out."""

    protocol: Literal["leave-last-out", "time", "cold-users", "cold-items"] = Field(
        "leave-last-out", description="how interactions are held out"
    )
    fraction: float = Field(
        0.1, gt=0, lt=0.5, description="time, cold: share held out for test, and for validation"
    )
    days: float = Field(
        0.0,
        ge=0,
        description="time: so many days at the end are the test, as many before them validation; "
        "0: see split.fraction",
    )
    seed: int = Field(0, ge=0, description="cold: who is held out; dirichlet: who is grouped")
    event: Literal["auto", "any", "view", "cart", "purchase"] = Field(
        "auto",
        description="only interactions that got this far are held out; auto: model.target for "
        "models of several tasks, else any",
    )
    train_event: Literal["any", "view", "cart", "purchase"] = Field(
        "any", description="only interactions that got this far are trained on"
    )


class ClientsSection(Section):
    """Who is a client, and which clients take part in a round."""

    unit: Literal["user", "merchant", "dirichlet"] = Field(
        "user", description="a client is a user, a merchant, or a synthetic group of users"
    )
    num: int = Field(10, ge=2, description="dirichlet: number of clients")
    alpha: float = Field(0.5, gt=0, description="dirichlet: concentration; small = unlike clients")
    sampling: Literal["all", "fixed", "poisson"] = Field(
        "all", description="all clients, a fixed number, or each with equal probability"
    )
    per_round: int = Field(100, ge=1, description="fixed, poisson: (expected) clients a round")
    availability: float = Field(1.0, gt=0, le=1, description="chance that a client is reachable")
    dropout: float = Field(0.0, ge=0, lt=1, description="chance that a chosen client fails")


class ServerSection(Section):
    """How the server applies the mean update."""

    rows: Literal["touching", "mean", "sum"] = Field(
        "sum", description="divide a row by the clients touching it, by all, or not at all"
    )
    weighting: Literal["samples", "equal"] = Field(
        "equal", description="weight of a client: its training samples, or 1"
    )
    weight_power: float = Field(
        1.0, ge=0, le=1, description="weighting = samples: to this power; low evens their sizes"
    )
    table_optimizer: OptimizerName = Field("adam", description="Keras optimiser of the tables")
    table_lr: float = Field(0.05, gt=0, description="its learning rate")
    weight_optimizer: OptimizerName = Field("adam", description="Keras optimiser of the weights")
    weight_lr: float = Field(0.01, gt=0, description="its learning rate")
    schedule: ScheduleName = Field(
        "constant",
        description="learning rates of tables and weights over the rounds: as they are, or by half "
        "a cosine from there to 0 in train.rounds",
    )
    l2: float = Field(0.0, ge=0, description="weight decay: l2 * table is added to the gradient")
    graph_l2: float = Field(
        0.0,
        ge=0,
        description="weight of the penalty that pulls items joined in a graph together: times "
        "the graph's normalised Laplacian times the table it is added to the gradient",
    )
    graph: Literal["attributes", "file"] = Field(
        "attributes",
        description="graph_l2: join items of one category or tag, or those in data.item_graph",
    )
    graph_attributes: str = Field(
        "all",
        description="graph_l2: names of category or tags attributes of items, or all of them",
    )
    fairness: float = Field(
        0.0,
        ge=0,
        le=10,
        description="q of q-FFL: a client's update counts times its loss to the power of q; 0: "
        "alike",
    )
    fair_loss: float = Field(
        1.0, gt=0, description="fairness: mean loss of a client from which it counts in full"
    )
    exposure: float = Field(
        0.0,
        ge=0,
        le=1,
        description="floor under the exposure of each group of items (evaluate.item_group), in "
        "parts of what it merits: interactions with items of groups below it weigh more; 0: none",
    )
    exposure_by: Literal["interactions", "items"] = Field(
        "interactions",
        description="exposure: what a group merits, its share of the training interactions or "
        "its share of the items",
    )
    exposure_lr: float = Field(
        0.1, gt=0, description="exposure: step of the weights after each validation"
    )
    lazy_rows: bool = Field(
        False,
        description="work only on the rows of a round's update: the others keep their moments "
        "undecayed and get no l2, and each row counts its own steps. sgd and adagrad without l2 "
        "always do, as it is the same for them; for the other rules it is another, faster one",
    )
    anchor_lr: float = Field(
        0.01, gt=0, description="model.anchor: learning rate (Adam) of the net of attributes"
    )
    anchor_steps: int = Field(
        10, ge=1, description="model.anchor: steps in a round in which the net follows the table"
    )
    min_nodes: int = Field(1, ge=1, description="wait until so many nodes are connected")
    min_clients: int = Field(1, ge=1, description="skip a round with fewer surviving clients")
    checkpoint_every: int = Field(1, ge=1, description="rounds between checkpoints")


class SecureSection(Section):
    """Secure aggregation: the server sees the sum of the clients' updates only."""

    mode: Literal["off", "semi-honest", "malicious-server"] = Field(
        "off", description="against which server single updates are hidden"
    )
    rows: Literal["dense", "union", "threshold", "low-rank"] = Field(
        "dense",
        description="dense: all rows of a table; union: first find out which rows anyone touches, "
        "then sum only those; threshold: first count who touches a row, then sum only those that "
        "secure.tau clients or more touch; low-rank: all rows, in a random subspace",
    )
    rank: int = Field(4, ge=1, description="low-rank: elements of a row that are sent")
    tau: int = Field(5, ge=2, description="threshold: clients that must touch a row")
    neighbours: int = Field(
        0, ge=0, description="clients with which each shares masks and secrets; 0: as is safe"
    )
    threshold: int = Field(
        0, ge=0, description="clients whose shares recover a secret; 0: as is safe"
    )
    bits: int = Field(20, ge=2, le=32, description="bits of an element of a table")
    clip: float = Field(4.0, gt=0, description="largest element of a client's table rows")
    weight_clip: float = Field(1024.0, gt=0, description="largest element of its dense weights")
    max_weight: int = Field(
        1000, ge=1, description="server.weighting = samples: largest weight of a client"
    )
    intervals: Literal["moments", "bootstrap"] = Field(
        "moments",
        description="intervals of test metrics from sums of products of two metrics, or from "
        "bootstrap sums that pair with other systems, but let the server solve for single clients",
    )
    registry: str = Field(
        "",
        description="file of the clients' public keys (fedrec identities), which every node reads "
        "for itself; empty: they are registered with the server",
    )
    drop_stage: Literal["any", "advertise", "share", "mask", "consistency", "unmask"] = Field(
        "any", description="before which message clients.dropout strikes; any: drawn"
    )


class CompressSection(Section):
    """Smaller updates of clients, and a smaller download."""

    rows: int = Field(
        0, ge=0, description="rows that a client sends: those it changes most; 0: all it touches"
    )
    rank: int = Field(
        0,
        ge=0,
        description="elements of a row that are sent, in a random subspace of each round; 0: all. "
        "With secure aggregation see secure.rows = low-rank",
    )
    bits: int = Field(
        32,
        ge=2,
        le=32,
        description="bits of an element of a table; 32: float32. With secure aggregation see "
        "secure.bits",
    )
    download_bits: Literal[32, 8, 4] = Field(
        32,
        description="bits of an element of a table that clients receive, train on and are "
        "evaluated on, with a scale and a zero point for each row; 32: float32",
    )


class EvaluateSection(Section):
    """What is measured, and how often."""

    k: str = Field("5 10 20", description="cut-offs K of the ranking metrics")
    every: int = Field(5, ge=1, description="rounds between validations")
    clients: int = Field(
        0, ge=0, description="clients that a validation asks, drawn anew each time; 0: all"
    )
    select: str = Field(
        "",
        description="validation metric that selects the round; empty: ndcg@10, or rmse for ratings",
    )
    sampled: int = Field(99, ge=0, description="negatives of the sampled protocol; 0: skip it")
    candidates: Literal["all", "new"] = Field(
        "all",
        description="what held-out items are ranked among: all items, or for split.protocol = "
        "cold-items the new ones of that part",
    )
    table: Literal["averaged", "personalised"] = Field(
        "averaged",
        description="what a client scores with: what the server sent, or that after the local "
        "training of the next round, of which nothing is sent or kept",
    )
    bootstrap: int = Field(1000, ge=0, description="bootstrap replicates; 0: no intervals")
    group: str = Field("", description="user attribute whose groups are compared; empty: none")
    propensity: float = Field(
        0.0,
        ge=0,
        le=2,
        description="exponent of the propensity by which test users are also weighted inversely, "
        "against popularity bias (protocol unbiased); 0: not",
    )
    propensity_clip: float = Field(
        10.0,
        ge=1,
        le=1000,
        description="propensity: largest weight of a user, in units of the most popular item's",
    )
    item_group: str = Field(
        "",
        description="item attribute whose groups' exposure in lists is measured on the test, or "
        "popularity for head, middle and tail; empty: none",
    )


class EngineSection(Section):
    """How the clients are spread."""

    nodes: int = Field(1, ge=1, description="Flower nodes; each hosts users[p::nodes]")
    block_mib: int = Field(
        256,
        ge=8,
        description="memory of one block of clients in training on the processor, at most; a block "
        "takes a quarter of what is free if that is less, and on a GPU always",
    )
