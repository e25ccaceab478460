"""NextItNet: dilated causal convolutions over the history (Yuan et al., WSDM 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from fedrec.models.recommender import Tensor, Tensors
from fedrec.models.sequence import SequenceRecommender, dense, normalise

_TAPS = 3  # places that a filter sees


@dataclass(frozen=True)
class NextItNet(SequenceRecommender):
    """Residual blocks of two convolutions with dilations 1 and 2, then 4 and 8, and so on."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each of the two convolutions of a block a kernel [3 d, d] and a norm."""
        d = self.dim
        found: dict[str, tuple[int, ...]] = {}
        for n in range(2 * self.layers):
            found |= {
                f"conv_{n}/kernel": (_TAPS * d, d),
                f"conv_{n}/bias": (d,),
                f"conv_{n}/scale": (d,),
                f"conv_{n}/shift": (d,),
            }
        return found | {"out/kernel": (d, d), "out/bias": (d,)}

    def encode(self, weights: Tensors, items: Tensor, real: Tensor) -> Tensor:
        """See `SequenceRecommender.encode`."""
        there = real[..., None]
        x = items * self.dim**0.5
        for n in range(self.layers):
            inner = self._convolution(weights, x, there, 2 * n)
            x = x + self._convolution(weights, inner, there, 2 * n + 1)
        return dense(x, weights["out/kernel"], weights["out/bias"])

    def _convolution(self, weights: Tensors, x: Tensor, there: Tensor, number: int) -> Tensor:
        """Filter, normalise and rectify; what stands before the first item is zero."""
        import tensorflow as tf

        own = {k.split("/")[1]: v for k, v in weights.items() if k.startswith(f"conv_{number}/")}
        back = 2**number
        long = tf.pad(x, [[0, 0], [back * (_TAPS - 1), 0], [0, 0]])
        taps = [long[:, back * t : back * t + self.window] for t in range(_TAPS)]
        found = dense(tf.concat(taps, -1), own["kernel"], own["bias"])
        return tf.nn.relu(normalise(found, own["scale"], own["shift"])) * there
