"""Sections of the configuration on systems beside the federated one."""

from __future__ import annotations

from pydantic import Field

from fedrec.config_sections import Section


class BaselineSection(Section):
    """Hyper-parameters of the baselines, and of federated methods that equal them."""

    ease_l2: float = Field(300.0, gt=0, description="EASE: ridge")
    ease_window: float = Field(
        0.0,
        ge=0,
        description="EASE: two items that a user met n interactions apart count exp(-n / window) "
        "as a pair; 0: all pairs count 1",
    )
    ease_decay: float = Field(
        0.0,
        ge=0,
        description="EASE: an item met n interactions ago counts exp(-n / decay) in scoring; 0: "
        "all count 1",
    )
    ials_dim: int = Field(32, ge=1, description="iALS: number of factors")
    ials_alpha: float = Field(1.0, gt=0, description="iALS: confidence 1 + alpha")
    ials_l2: float = Field(10.0, ge=0, description="iALS: ridge")
    ials_epochs: int = Field(15, ge=1, description="iALS: sweeps")
    knn_k: int = Field(20, ge=1, description="item kNN: neighbours")
    knn_shrink: float = Field(10.0, ge=0, description="item kNN: shrinkage")
    user_knn_k: int = Field(20, ge=1, description="user kNN: neighbours")
    user_knn_shrink: float = Field(10.0, ge=0, description="user kNN: shrinkage")
    rating_knn_k: int = Field(400, ge=1, description="kNN for ratings: neighbours")


class CompareSection(Section):
    """What `fedrec compare` puts side by side."""

    systems: str = Field(
        "federated centralised local-only popularity ease ials", description="systems, in order"
    )
    seeds: str = Field("0 1 2", description="seeds of the trained systems")
    leak_guard: bool = Field(True, description="train without communication; must equal random")
