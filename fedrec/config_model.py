"""The sections `model`, `train`, `central` and `local`: keys, defaults, types, meanings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from fedrec.config_sections import ScheduleName, Section


class ModelSection(Section):
    """The recommender."""

    name: str = Field(
        "mf",
        description="mf, ncf, head, additive (train.method = fedrap), gru4rec, sasrec, nextitnet, "
        "lightgcn, two-tower, deepfm, shared-bottom, mmoe, item-item (train.method = ease or "
        "item-knn), or keras for a model of your own",
    )
    dim: int = Field(32, ge=1, description="embedding size d")
    loss: Literal["logistic", "bpr", "squared", "softmax", "hinge"] = Field(
        "logistic",
        description="squared is for ratings (data.feedback = explicit) and for FCF; softmax, of "
        "the next item among negatives, for sequence models; hinge for two-tower",
    )
    mlp: str = Field(
        "64 32 16 8",
        description="ncf, shared-bottom: widths of the hidden layers; mmoe: of each expert's",
    )
    experts: int = Field(4, ge=2, description="mmoe: number of experts")
    target: Literal["view", "cart", "purchase"] = Field(
        "purchase", description="shared-bottom, mmoe: the task whose head ranks"
    )
    task_weights: str = Field(
        "1 1 1", description="shared-bottom, mmoe: weights of the losses of view, cart, purchase"
    )
    funnel: bool = Field(
        False,
        description="shared-bottom, mmoe: a head tells its event given the one before it, and what "
        "ranks is the product up to the target",
    )
    local_heads: Literal["auto", "true", "false"] = Field(
        "auto",
        description="shared-bottom, mmoe: heads of the tasks stay with the client; auto: where it "
        "is a merchant",
    )
    local_layers: str = Field(
        "",
        description="layers that stay with each client of many users (FedPer): names of layers or "
        "of dense weights, or patterns such as mlp_*; they move by train.personal_lr",
    )
    scales: str = Field(
        "",
        description="two-tower: number attributes of items, such as price, each multiplied by a "
        "learnt scale; each merchant's own with model.local_layers = 'scale_*'",
    )
    history: int = Field(
        50, ge=2, description="sequence models: places of a window, and latest items that are read"
    )
    ahead: int = Field(
        1, ge=1, description="sequence models: a place's target is drawn from so many next items"
    )
    contrast: float = Field(
        0.0,
        ge=0,
        description="weight of the contrast between two masked views: of a window for sequence "
        "models, of an item's attributes for two-tower; 0: none",
    )
    contrast_mask: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="contrast: chance that a view masks an item of the window, or a number of the "
        "attributes",
    )
    contrast_temperature: float = Field(
        0.5, gt=0, description="contrast: what cosines of states are divided by"
    )
    layers: int = Field(
        1,
        ge=1,
        description="sequence models: recurrent layers, attention or residual blocks; lightgcn: "
        "hops between items (each two layers of the graph)",
    )
    leave_out: bool = Field(
        True, description="lightgcn: a training item is left out of the user's own vector"
    )
    heads: int = Field(1, ge=1, description="sasrec: heads of the attention")
    recent: int = Field(
        0, ge=0, description="item-item: latest items of a user that are scored with; 0: all"
    )
    item_attributes: str = Field(
        "all", description="two-tower, deepfm, anchor: names of item attributes, or all"
    )
    user_attributes: str = Field(
        "all",
        description="two-tower, deepfm: names of user attributes, which stay on the device, or all",
    )
    text: str = Field(
        "hash",
        description="texts among the attributes: hash (n-grams), or file.py:function that gets a "
        "list of strings and returns a vector for each",
    )
    text_width: int = Field(64, ge=1, description="columns of hashed text")
    most_values: int = Field(
        100, ge=2, description="columns of a category or of tags; rarer values share one"
    )
    tower: str = Field("32", description="two-tower, deepfm, anchor: widths of the hidden layers")
    id_rows: bool = Field(True, description="two-tower: an item has a row beside its attributes")
    spread: float = Field(
        1.0, ge=0, description="two-tower with loss = hinge: weight of squared scores of negatives"
    )
    anchor: float = Field(
        0.0,
        ge=0,
        description="mf, head: pull of an item's row, once for each sample, to what a net of the "
        "server makes of the item's attributes, which stay there (IFedRec); 0: none",
    )
    init: float = Field(0.01, gt=0, description="standard deviation of initial embeddings")
    source: str = Field("", description="keras: package.module:function or file.py:function")
    pretrained: str = Field(
        "",
        description="directory 'model' of an earlier run, whose tables and weights this one begins "
        "with, matched by item id; the server alone reads it; empty: begin fresh",
    )
    freeze: bool = Field(
        False, description="item tables of model.pretrained are read and never trained"
    )
    adapter_rank: int = Field(
        0,
        ge=0,
        description="freeze item tables, and train a low-rank change of each: so many elements a "
        "row, and a basis; 0: none",
    )

    @field_validator("local_heads", mode="before")
    @classmethod
    def _as_word(cls, value: object) -> object:
        return str(value).lower() if isinstance(value, bool) else value


class CentralSection(Section):
    """The centralised twin: same loss, step and sampler on pooled data."""

    epochs: int = Field(20, ge=0, description="passes over the pooled samples")
    batch: int = Field(1024, ge=1, description="samples a step")
    optimizer: Literal["sgd", "adam"] = Field("adam", description="its optimiser")
    lr: float = Field(0.003, gt=0, description="its learning rate")
    l2: float = Field(0.01, ge=0, description="weight of the squared norm of rows used in a batch")
    schedule: ScheduleName = Field(
        "constant",
        description="its learning rate over the epochs: as it is, or by half a cosine to 0",
    )


class LocalSection(Section):
    """Clients that train alone; also what the leak guard trains."""

    epochs: int = Field(20, ge=1, description="passes over the own samples")
    every: int = Field(5, ge=1, description="passes between validations, on the same negatives")
    batch: int = Field(256, ge=0, description="samples a step; 0: all local samples")
    optimizer: Literal["sgd", "adam"] = Field("adam", description="its optimiser")
    lr: float = Field(0.05, gt=0, description="its learning rate")
    l2: float = Field(0.0, ge=0, description="weight of the squared norm of rows used in a batch")


class TrainSection(Section):
    """Local training, the same for federated, local-only and centralised systems."""

    method: Literal[
        "fedavg",
        "fedprox",
        "scaffold",
        "alternating",
        "fcf",
        "pfedrec",
        "fedrecon",
        "reptile",
        "fomaml",
        "gpfedrec",
        "fedrap",
        "ease",
        "item-knn",
        "ials",
        "lightgcn",
    ] = Field(
        "alternating",
        description="what moves when; ease, item-knn and ials sum, and the server solves",
    )
    rounds: int = Field(50, ge=0, description="communication rounds")
    epochs: int = Field(1, ge=1, description="passes over the local samples in a round")
    batch: int = Field(256, ge=0, description="samples a step; 0: all local samples")
    graph_rounds: int = Field(
        1, ge=1, description="lightgcn: first rounds, over which the sum of the graph is spread"
    )
    negatives: int = Field(4, ge=0, description="negatives drawn for each positive")
    resample: Literal["round", "once"] = Field(
        "round", description="negatives are drawn anew in each round, or once for the whole run"
    )
    optimizer: Literal["sgd", "adam"] = Field("adam", description="the client's optimiser")
    lr: float = Field(0.1, gt=0, description="learning rate of shared parameters on the client")
    row_lr: float = Field(
        0.0, ge=0, description="learning rate of table rows on the client; 0: train.lr"
    )
    personal_lr: float = Field(0.05, gt=0, description="learning rate of personal parameters")
    personal_steps: int = Field(
        3,
        ge=1,
        description="alternating: steps on personal parameters; fedrecon, reptile, fomaml: passes",
    )
    support: float = Field(
        0.5, gt=0, lt=1, description="fedrecon, reptile, fomaml: share of interactions to adapt to"
    )
    reduction: Literal["mean", "sum"] = Field("sum", description="loss of a batch")
    propensity: float = Field(
        0.0,
        ge=0,
        le=2,
        description="weight of an interaction by its item's training count to the power of minus "
        "this, against popularity bias; the counts are published to all clients, and with secure "
        "aggregation only where its sum holds them (lightgcn); 0: alike",
    )
    propensity_clip: float = Field(
        10.0,
        ge=1,
        description="propensity: largest weight, in units of the most popular item's",
    )
    l2: float = Field(0.01, ge=0, description="weight of the squared norm of rows and vectors used")
    prox_mu: float = Field(
        0.01,
        ge=0,
        description="fedprox: pull towards the server's parameters; gpfedrec: towards the mean "
        "table of a client's neighbours",
    )
    neighbour_factor: float = Field(
        1.0, gt=0, description="gpfedrec: neighbours are more similar than the mean times this"
    )
    apart: float = Field(
        0.1, ge=0, description="fedrap: weight of the difference of own and shared rows"
    )
    l1: float = Field(0.001, ge=0, description="fedrap: l1 penalty of shared rows")
    ramp: float = Field(
        10.0, ge=0, description="fedrap: apart and l1 grow as tanh(round / ramp); 0: constant"
    )
    decay: float = Field(
        0.97, gt=0, le=1, description="fedrap: learning rates are multiplied by it each round"
    )
    alpha: float = Field(4.0, ge=0, description="fcf, ials: confidence 1 + alpha of an interaction")
    ridge: float = Field(10.0, gt=0, description="fcf, ials: ridge of vectors in closed form")
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="what clients are trained on; auto: a GPU if TensorFlow sees one"
    )
    precision: Literal["float32", "mixed"] = Field(
        "float32",
        description="mixed: Dense layers of a Keras model multiply in bfloat16, which is meant for "
        "GPUs; parameters, updates and the loss stay float32",
    )
    prefetch: bool = Field(
        True,
        description="draw the samples of the next block of clients in a thread while one trains; "
        "the same results, sooner where a round has several blocks",
    )
    personal_store: Literal["auto", "memory", "disk"] = Field(
        "auto",
        description="where a node keeps personal parameters; disk: in mapped files beside its "
        "checkpoints; auto: there if they take more than a 32nd of the machine's memory",
    )
    negatives_from: Literal["train", "known", "own", "legacy-leaky"] = Field(
        "train",
        description="items that a user has not met in training; known: of these, those that anyone "
        "has, as new items come later (evaluate.candidates = new); own: of these, those that the "
        "merchant sells, so that it touches its part of a union catalogue alone; legacy-leaky "
        "never draws held-out items; only to reproduce published figures",
    )
