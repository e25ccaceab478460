"""SASRec: causal self-attention over the history (Kang and McAuley, ICDM 2018).

Positions are counted from the latest item backwards within a window.  Layers are
normalised in front of each part; there is no dropout, as local training is short.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedrec.models.recommender import Tensor, Tensors
from fedrec.models.sequence import SequenceRecommender, dense, normalise


@dataclass(frozen=True)
class SASRec(SequenceRecommender):
    """Blocks of attention and a feed-forward layer.

    Attributes:
        heads: of the attention; d is a multiple of it.
    """

    heads: int = 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Positions, and of each block three projections, two dense layers, two norms."""
        d = self.dim
        norms = ["last"]
        found: dict[str, tuple[int, ...]] = {"position": (self.window, d)}
        for n in range(self.layers):
            norms += [f"block_{n}/attention_norm", f"block_{n}/dense_norm"]
            found |= {f"block_{n}/{part}": (d, d) for part in ("query", "key", "value")}
            for number in (1, 2):
                found[f"block_{n}/kernel_{number}"] = (d, d)
                found[f"block_{n}/bias_{number}"] = (d,)
        return found | {f"{n}/{part}": (d,) for n in norms for part in ("scale", "shift")}

    def encode(self, weights: Tensors, items: Tensor, real: Tensor) -> Tensor:
        """See `SequenceRecommender.encode`."""
        import tensorflow as tf

        there = real[..., None]
        x = (items * self.dim**0.5 + weights["position"]) * there
        for n in range(self.layers):
            own = {k.removeprefix(f"block_{n}/"): v for k, v in weights.items()}
            given = normalise(x, own["attention_norm/scale"], own["attention_norm/shift"])
            x += self._attention(own, given, x, real)
            given = normalise(x, own["dense_norm/scale"], own["dense_norm/shift"])
            inner = tf.nn.relu(dense(given, own["kernel_1"], own["bias_1"]))
            x = (x + dense(inner, own["kernel_2"], own["bias_2"])) * there
        return normalise(x, weights["last/scale"], weights["last/shift"])

    def _attention(self, weights: Tensors, query: Tensor, values: Tensor, real: Tensor) -> Tensor:
        """Return what each place takes from the real places up to itself, [N, L, d]."""
        import tensorflow as tf

        width = self.dim // self.heads
        causal = tf.linalg.band_part(tf.ones((self.window, self.window)), -1, 0)
        hidden = (1.0 - causal * real[:, None]) * -1e9  # finite: a place may see nothing
        q, k, v = (
            tf.split(dense(given, weights[name]), self.heads, -1)
            for given, name in ((query, "query"), (values, "key"), (values, "value"))
        )
        found = []
        for one, key, value in zip(q, k, v, strict=True):
            product = tf.linalg.matmul(one, key, transpose_b=True) / width**0.5
            found.append(tf.linalg.matmul(tf.nn.softmax(product + hidden, -1), value))
        return tf.concat(found, -1)
