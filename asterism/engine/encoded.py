"""The student's outputs for a batch that is larger than what fits with its graph."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from asterism.distributed import mean_over_ranks, rank
from asterism.models import keeping_buffers
from asterism.seeds import seed_of
from asterism.types import Outputs

Part = Callable[[], Outputs]


def seed_step(*key: int) -> None:
    """Begin the random numbers of torch anew, as a function of the key.

    Dropout and its kin then depend on the step alone: a chunk that is computed twice drops the
    same units, and a training that is resumed goes on as if it had never stopped.
    """
    torch.manual_seed(seed_of(*key))


class Encoded:
    """Outputs of the parts of a batch, whose gradients wait here until all are known.

    A single part keeps its graph. Of several only the outputs are kept; `backward` computes them
    again, one after the other (gradient caching: Gao et al., Scaling Deep Contrastive Learning
    Batch Size under Memory Limited Setup, 2021, https://arxiv.org/abs/2101.06983). Random numbers
    and buffers are then what they were, so running statistics move once and not twice.

    Attributes:
        outputs: The outputs of each part, leaves of the graph of the loss.
    """

    def __init__(self, student: nn.Module, parts: Sequence[Part], *, key: Sequence[int]) -> None:
        """Compute the outputs.

        Args:
            student: Whose buffers the parts move.
            parts: Each returns the student's outputs for some samples.
            key: From what the random numbers of the step are made, beside rank and part.
        """
        self.student = student
        self.parts = parts
        self.key = key
        self.kept: Outputs | None = None
        if len(parts) == 1:
            self.kept = self._run(0)
            passed = [self.kept]
        else:
            with torch.no_grad(), keeping_buffers(student):
                passed = [self._run(i) for i in range(len(parts))]
        self.outputs = [_as_leaves(part) for part in passed]

    def _run(self, i: int) -> Outputs:
        seed_step(*self.key, rank(), i)
        return self.parts[i]()

    def backward(self) -> None:
        """Carry the gradients of the outputs on to the parameters."""
        for i, leaves in enumerate(self.outputs):
            made = self._run(i) if self.kept is None else self.kept
            pairs = [
                (x, leaf.grad)
                for x, leaf in zip(made, leaves, strict=True)
                if x is not None and x.requires_grad and leaf is not None and leaf.grad is not None
            ]
            if pairs:
                torch.autograd.backward([x for x, _ in pairs], [grad for _, grad in pairs])

    def norms(self, terms: Sequence[Tensor], *, scale: float = 1.0) -> list[float]:
        """Return the norm of each term's gradient for the student's parameters, over all ranks.

        Nothing is added to any `.grad`, and all graphs are kept. A graph that is kept serves all
        terms; parts are computed once more, as in `backward`.

        Args:
            terms: Terms of the loss, functions of the outputs.
            scale: Factor under which half precision neither overflows nor vanishes.
        """
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        leaves = [x for part in self.outputs for x in part if x is not None]
        # All leaves at once: ranks exchange gradients here, and may have different parts.
        slopes = [iter(_gradients([scale * term], leaves)) for term in terms]
        sums = [[torch.zeros_like(p) for p in parameters] for _ in terms]
        again = self.kept is None
        with keeping_buffers(self.student) if again else nullcontext():
            for i, part in enumerate(self.outputs):
                made = self._run(i) if self.kept is None else self.kept
                rows = [
                    x
                    for x, leaf in zip(made, part, strict=True)
                    if x is not None and leaf is not None
                ]
                for slope, total in zip(slopes, sums, strict=True):
                    given = [next(slope) for _ in rows]
                    for p, gradient in zip(total, _gradients(rows, parameters, given), strict=True):
                        p.add_(0 if gradient is None else gradient)
        whole = (mean_over_ranks(torch.cat([x.flatten() for x in total])) for total in sums)
        return [float(torch.linalg.vector_norm(x, dtype=torch.float64)) / scale for x in whole]


def _gradients(
    values: Sequence[Tensor],
    inputs: Sequence[Tensor],
    slopes: Sequence[Tensor | None] = (None,),
) -> Sequence[Tensor | None]:
    """Return the gradient for each input; None for those that the values do not depend on."""
    pairs = zip(values, slopes, strict=True)
    used = [(v, s) for v, s in pairs if v.requires_grad and (s is not None or v.ndim == 0)]
    if not used:
        return [None] * len(inputs)
    values, slopes = zip(*used, strict=True)
    gradients: Sequence[Tensor | None] = torch.autograd.grad(
        values, inputs, slopes, retain_graph=True, allow_unused=True
    )
    return gradients


def _as_leaves(outputs: Outputs) -> Outputs:
    logits = None if outputs.logits is None else outputs.logits.detach().requires_grad_()
    return Outputs(outputs.embedding.detach().requires_grad_(), logits)
