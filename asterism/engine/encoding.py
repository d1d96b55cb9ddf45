"""The student's outputs for a batch that is larger than what fits with its graph."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from asterism.distributed import rank
from asterism.types import Outputs

Part = Callable[[], Outputs]


def seed_step(*key: int) -> None:
    """Begin the random numbers of torch anew, as a function of the key.

    Dropout and its kin then depend on the step alone: a chunk that is computed twice drops the
    same units, and a training that is resumed goes on as if it had never stopped.
    """
    torch.manual_seed(hash(key) % 2**63)


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
        self.parts, self.key = parts, key
        self.kept: Outputs | None = None
        if len(parts) == 1:
            self.kept = self._run(0)
            found = [self.kept]
        else:
            buffers = [(buffer, buffer.clone()) for buffer in student.buffers()]
            with torch.no_grad():
                found = [self._run(i) for i in range(len(parts))]
                for buffer, before in buffers:
                    buffer.copy_(before)
        self.outputs = [_as_leaves(part) for part in found]

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


def _as_leaves(outputs: Outputs) -> Outputs:
    logits = None if outputs.logits is None else outputs.logits.detach().requires_grad_()
    return Outputs(outputs.embedding.detach().requires_grad_(), logits)
