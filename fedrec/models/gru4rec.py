"""GRU4Rec: a recurrent network reads the history (Hidasi et al., ICLR 2016).

Its gated unit is that of Cho et al. (EMNLP 2014) with the reset gate after the product.
Input and output share one item table.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedrec.models.recommender import Tensor, Tensors
from fedrec.models.sequence import SequenceRecommender, dense


@dataclass(frozen=True)
class GRU4Rec(SequenceRecommender):
    """Gated recurrent units, and a linear layer on the last of them."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Kernels of the gates (reset, update, new) side by side; the output layer."""
        d = self.dim
        found: dict[str, tuple[int, ...]] = {"out/kernel": (d, d), "out/bias": (d,)}
        for n in range(self.layers):
            found |= {
                f"gru_{n}/kernel": (d, 3 * d),
                f"gru_{n}/recurrent": (d, 3 * d),
                f"gru_{n}/bias": (3 * d,),
                f"gru_{n}/recurrent_bias": (3 * d,),
            }
        return found

    def encode(self, weights: Tensors, items: Tensor, real: Tensor) -> Tensor:
        """See `SequenceRecommender.encode`; the state stays zero until the first item."""
        x = items * self.dim**0.5
        for n in range(self.layers):
            own = {k.split("/")[1]: v for k, v in weights.items() if k.startswith(f"gru_{n}/")}
            x = self._layer(own, x, real)
        return dense(x, weights["out/kernel"], weights["out/bias"])

    def _layer(self, weights: Tensors, x: Tensor, real: Tensor) -> Tensor:
        import tensorflow as tf

        given = tf.unstack(dense(x, weights["kernel"], weights["bias"]), self.window, axis=1)
        there = tf.unstack(real[..., None], self.window, axis=1)
        state, states = tf.zeros_like(x[:, 0]), []
        for now, is_real in zip(given, there, strict=True):
            before = dense(state[:, None], weights["recurrent"], weights["recurrent_bias"])[:, 0]
            reset, update, new = tf.split(now, 3, -1)
            reset_before, update_before, new_before = tf.split(before, 3, -1)
            keep = tf.sigmoid(update + update_before)
            new = tf.tanh(new + tf.sigmoid(reset + reset_before) * new_before)
            state = (keep * state + (1.0 - keep) * new) * is_real
            states.append(state)
        return tf.stack(states, 1)
