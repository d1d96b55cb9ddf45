"""`--loss-weights auto`: factors of the terms, from the gradients that they begin with."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Steps that are measured; afterwards the factors stay as they are.
STEPS = 20
# Length of the gradient of each term of a method, beside the task's.
SHARE = 1.0
# A gradient that would have to be stretched by more than this is rounding, not a direction.
LARGEST = 1e6


class Balance:
    r"""Factors that give the terms of the loss gradients of set lengths.

    The gradient of each term for the student's parameters is measured in the first steps. With
    $m_t$ the median of its norms so far, the factor of the next step is

    $$f_t = \frac{\text{SHARE} \cdot m_{\text{task}}}{m_t}, \qquad f_{\text{task}} = 1$$

    and without a task $f_t = g / m_t$, where $g$ is the geometric mean of all $m_t$, so that the
    terms share alike what their weights give them together. After the last measured step the
    factors stay. A term without a gradient keeps the factor 1. The weights that the user gave the
    terms drop out, but for those of a task and, without one, their geometric mean.

    Attributes:
        steps: How many steps were looked at.
        norms: Norm of each term's gradient in these steps.
        factors: What each term is multiplied by.
    """

    def __init__(self) -> None:
        """Begin with the weights as they are given."""
        self.steps = 0
        self.norms: dict[str, list[float]] = {}
        self.factors: dict[str, float] = {}

    @property
    def measuring(self) -> bool:
        """Return whether the next step is measured."""
        return self.steps < STEPS

    @property
    def medians(self) -> dict[str, float]:
        """Return the median norm of each term's gradient, without any factor."""
        return {name: statistics.median(norms) for name, norms in self.norms.items()}

    def observe(self, norms: Mapping[str, float]) -> None:
        """Learn from the norms of one step; one that is not finite tells nothing.

        Args:
            norms: Norm of each term's gradient for the student, without a factor.
        """
        self.steps += 1
        for name, norm in norms.items():
            if math.isfinite(norm):
                self.norms.setdefault(name, []).append(norm)
        medians = {name: median for name, median in self.medians.items() if median > 0}
        if "task" in medians:
            wanted = SHARE * medians["task"]
        elif medians:
            wanted = statistics.geometric_mean(medians.values())
        self.factors = dict.fromkeys(norms, 1.0)
        for name in medians.keys() - {"task"}:
            if wanted <= LARGEST * medians[name]:
                self.factors[name] = wanted / medians[name]

    def scaled(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms times their factors."""
        return {name: value * self.factors.get(name, 1.0) for name, value in terms.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training goes on from."""
        return {"steps": self.steps, "norms": self.norms, "factors": self.factors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self.steps = state["steps"]
        self.norms = state["norms"]
        self.factors = state["factors"]
