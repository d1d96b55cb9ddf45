"""What a teacher knows of its tokens, with which a student for texts may begin."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from asterism.distributed import is_first
from asterism.models.modes import evaluating
from asterism.models.tokens import Tokeniser, tokeniser_of
from asterism.words import tell

# Tokens that a teacher embeds at a time, each as a text of its own; of many more a user is told.
AT_ONCE, MANY = 512, 10_000

Vectors = Callable[[], Tensor | None]


@runtime_checkable
class TakesTokens(Protocol):
    """A model of texts that also takes the numbers of tokens."""

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`.

        Marks of begin and end, and whatever else the model adds to a text, are not among them.
        """


@dataclass(frozen=True)
class Vocabulary:
    """A teacher's tokens, whether it is a network or a cache of one; nobody asks which.

    Attributes:
        tokeniser: The content of its `tokenizer.json`; None if that is not known.
        own: Returns the vectors that it reads its tokens as, float32 `(size, d)` on the CPU; None
            if it has none.
        alone: Returns what it makes of each token as a text of its own, likewise.
        unknown: Why the tokeniser is not known, for a message.
    """

    tokeniser: str | None
    own: Vectors
    alone: Vectors
    unknown: str = ""

    def vectors(self, start: str, tokeniser: Tokeniser) -> Tensor:
        """Return the vectors, `(size, d)`, that a student with this tokeniser may begin with.

        Args:
            start: `teacher` for its own, `alone` for those of each token alone.
            tokeniser: The student's.

        Raises:
            ValueError: If there are none; the message says why, as the end of a sentence.
        """
        if self.tokeniser is None:
            raise ValueError(self.unknown)
        if self.tokeniser != tokeniser.json:
            raise ValueError("the teacher's tokeniser is another one than the student's")
        rows = self.alone() if start == "alone" else self.own()
        if rows is None:
            lacks = {"alone": "takes no tokens one by one"}.get(start, "has no table of its tokens")
            raise ValueError(f"the teacher {lacks}")
        return rows


def vocabulary_of(network: nn.Module | None) -> Vocabulary | None:
    """Return what a network knows of its tokens; None for one without a tokeniser of ours."""
    tokeniser = tokeniser_of(network)
    if network is None or tokeniser is None:
        return None
    size = tokeniser.size
    return Vocabulary(tokeniser.json, lambda: _own(network, size), lambda: _alone(network, size))


def _own(network: nn.Module, size: int) -> Tensor | None:
    tables = (m.weight for m in network.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag))
    first = next((table for table in tables if len(table) >= size), None)
    return None if first is None else first[:size].detach().float().cpu()


def _alone(network: nn.Module, size: int) -> Tensor | None:
    encode = next((m.of_tokens for m in network.modules() if isinstance(m, TakesTokens)), None)
    if encode is None:
        return None
    if size > MANY and is_first():
        tell(f"{size:,} tokens go through the teacher, each alone, for students to begin with …")
    with evaluating(network):
        groups = torch.split(torch.arange(size)[:, None], AT_ONCE)
        return torch.cat([encode(numbers).float().cpu() for numbers in groups])
