"""Small students for texts, on the teacher's tokens or others."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.distributed import is_first
from asterism.models.tokens import Tokeniser, by_length
from asterism.models.vocabulary import Vocabulary
from asterism.types import Outputs
from asterism.words import tell

Start = Literal["teacher", "alone", "random"]
# Of more tokens a teacher is not asked one by one unless that is asked for: it takes minutes.
MOST_ALONE = 2**16


class TextNetwork(nn.Module):
    """What both networks do with the mean over a text's tokens."""

    unit: bool
    classifier: nn.Linear | None

    def extra_repr(self) -> str:
        """Return what makes other embeddings of the same weights: caches tell teachers by it."""
        return "unit=True" if self.unit else ""

    def _outputs(self, mean: Tensor) -> Outputs:
        logits = self.classifier(mean) if self.classifier else None
        return Outputs(F.normalize(mean) if self.unit else mean, logits)


class StaticText(TextNetwork):
    """The mean of a vector per token: no word knows of another, and nothing is faster.

    Args:
        tokenizer: A tokenizer.json, or the folder of one; by default the teacher's.
        width: Columns of the embedding.
        weighted: Whether each token's weight in the mean is learnt.
        start: From which vectors tokens begin: what the teacher makes of each token as a text
            (alone), its own table (teacher), or chance (random); by default the first of these that
            there is, but for more than 65,536 tokens not alone, which takes long.
        sif: Each token's vector begins times sif / (sif + its frequency); 0 leaves that out.
        unit: Whether embeddings have unit length; by default where the teacher's have.
        max_length: Tokens of a text that are read.

    Attributes:
        tokeniser: Texts to tokens.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        tokenizer: str | None,
        vocabulary: Vocabulary | None = None,
        width: int = 256,
        weighted: bool = False,
        start: Start | None = None,
        sif: float = 0.0,
        unit: bool = False,
        max_length: int = 512,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.tokeniser = Tokeniser(_given(tokenizer), max_length=max_length, special=False)
        self.tokens = nn.Embedding(self.tokeniser.size, width)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        usual: tuple[Start, ...] = ("teacher",)
        if self.tokeniser.size <= MOST_ALONE:
            usual = ("alone", "teacher")
        _start(self.tokens, self.tokeniser, vocabulary, start, usual=usual, sif=sif)
        # The logarithm of each token's weight in the mean.
        self.weights = nn.Parameter(torch.zeros(self.tokeniser.size)) if weighted else None
        self.classifier = nn.Linear(width, classes) if classes else None

    def forward(self, texts: list[str]) -> Outputs:
        """Return the mean vector of each text's tokens; zeros for a text without tokens."""
        ids = self.tokeniser(texts)
        device = self.tokens.weight.device
        numbers = torch.tensor([i for one in ids for i in one], dtype=torch.int64, device=device)
        ends = torch.tensor([len(one) for one in ids], dtype=torch.int64).cumsum(0)
        begins = F.pad(ends, (1, 0))[: len(ids)].to(device)
        if self.weights is None:
            embedding = F.embedding_bag(numbers, self.tokens.weight, begins, mode="mean")
        else:
            weight = self.weights[numbers].exp()
            embedding = F.embedding_bag(
                numbers, self.tokens.weight, begins, mode="sum", per_sample_weights=weight
            )
            total = F.embedding_bag(
                numbers, self.weights.exp()[:, None], begins, mode="sum"
            )  # zero only for a text without tokens, whose sum is zero too
            embedding = embedding / total.clamp_min(torch.finfo(total.dtype).tiny)
        return self._outputs(embedding)

    def encode(self, numbers: Tensor, mask: Tensor) -> Outputs:
        """Return what `forward` does, of tokens' numbers and a mask, both `(n, length)`."""
        weight = mask.to(self.tokens.weight.dtype)
        if self.weights is not None:
            weight = weight * self.weights[numbers].exp()
        total = weight.sum(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
        return self._outputs((self.tokens(numbers) * weight[:, :, None]).sum(1) / total)

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`."""
        numbers = numbers.to(self.tokens.weight.device)
        return self.encode(numbers, torch.ones_like(numbers, dtype=torch.bool)).embedding


class Block(nn.Module):
    """Attention and two linear layers, each added to its input, norms first.

    What is added is zero in the beginning, so that a new block changes nothing.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for last in (self.join, self.narrow):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the block's output for `x` of shape (n, length, width)."""
        n, length, width = x.shape
        parts = self.attend(self.norm1(x)).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        x = x + self._dropped(self.join(seen.transpose(1, 2).reshape(n, length, width)))
        return x + self._dropped(self.narrow(F.gelu(self.widen(self.norm2(x)))))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class TransformerText(TextNetwork):
    """A small transformer encoder; the embedding is the mean over a text's tokens.

    It begins as the mean of the tokens' vectors, what `StaticText` is, and there is no norm behind
    the blocks, so that the length of a vector goes on saying how much its token counts.

    Args:
        tokenizer: A tokenizer.json, or the folder of one; by default the teacher's.
        layers: Number of blocks.
        width: Columns of a token, and of the embedding; a multiple of heads.
        heads: Heads of attention in a block.
        dropout: Share of what a block adds that is dropped in training.
        start: From which vectors tokens begin: the teacher's own table (teacher), what it makes of
            each token as a text (alone), or chance; by default teacher where there is one.
        sif: Each token's vector begins times sif / (sif + its frequency); 0 leaves that out.
        unit: Whether embeddings have unit length; by default where the teacher's have.
        max_length: Tokens of a text that are read.

    Attributes:
        tokeniser: Texts to tokens.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        tokenizer: str | None,
        vocabulary: Vocabulary | None = None,
        layers: int = 2,
        width: int = 128,
        heads: int = 4,
        dropout: float = 0.0,
        start: Start | None = None,
        sif: float = 0.0,
        unit: bool = False,
        max_length: int = 128,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads; got {width} and {heads}.")
        self.unit = unit
        self.tokeniser = Tokeniser(_given(tokenizer), max_length=max_length)
        self.tokens = nn.Embedding(self.tokeniser.size, width)
        self.places = nn.Embedding(max_length, width)
        # Ten times the usual 0.02, so that the optimiser's steps leave them near the teacher's.
        nn.init.normal_(self.tokens.weight, std=0.2)
        nn.init.zeros_(self.places.weight)
        _start(self.tokens, self.tokeniser, vocabulary, start, usual=("teacher",), sif=sif)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.classifier = nn.Linear(width, classes) if classes else None

    def forward(self, texts: list[str]) -> Outputs:
        """Return the mean over each text's tokens and the logits."""
        return by_length(texts, self._encode)

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`."""
        numbers = self.tokeniser.marked(numbers).to(self.tokens.weight.device)
        return self.encode(numbers, torch.ones_like(numbers, dtype=torch.bool)).embedding

    def _encode(self, texts: list[str]) -> Outputs:
        return self.encode(*self.tokeniser.padded(texts, self.tokens.weight.device))

    def encode(self, numbers: Tensor, mask: Tensor) -> Outputs:
        """Return what `forward` does, of tokens' numbers and a mask, both `(n, length)`."""
        mask = attended(mask)
        x = self.tokens(numbers) + self.places.weight[: numbers.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        return self._outputs(mean_over(x, mask))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "text-static": StaticText,
    "text-transformer": TransformerText,
}


def mean_over(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens that are no padding.

    Args:
        tokens: Shape `(n, length, width)`.
        mask: Shape `(n, length)`; true for at least one token of each text.
    """
    weight = mask[:, :, None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)


def attended(mask: Tensor) -> Tensor:
    """Return a mask with the first token of a text that has none, as `Tokeniser.padded` gives it.

    Attention and means need something.
    """
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    return mask | (first & ~mask.any(1, keepdim=True))


def _given(tokenizer: str | None) -> str:
    if tokenizer is None:
        raise ValueError(
            "a model for texts needs a tokeniser, and there is no teacher that has one: name one, "
            "?tokenizer=FILE_OR_FOLDER."
        )
    return tokenizer


@torch.no_grad()
def _start(
    table: nn.Embedding,
    tokeniser: Tokeniser,
    vocabulary: Vocabulary | None,
    start: Start | None,
    *,
    usual: Sequence[Start],
    sif: float,
) -> None:
    r"""Begin with the teacher's vectors of the tokens, as far as the width goes (PCA).

    `teacher` takes its own table of tokens, `alone` what it makes of each token as a text. With
    `sif` $= a > 0$ each is multiplied by $a / (a + p)$, the weight of Arora, Liang and Ma (A Simple
    but Tough-to-Beat Baseline for Sentence Embeddings, 2017), where the frequency $p$ of a token
    follows Zipf's law in its number: vocabularies are sorted by frequency, more or less.
    """
    if start not in (None, "teacher", "alone", "random"):
        raise ValueError(f"start is teacher, alone or random; got {start}.")
    if sif < 0:
        raise ValueError(f"sif must not be negative; got {sif}.")
    rows = _vectors(tokeniser, vocabulary, start, usual)
    if rows is not None:
        rows = rows.double() - rows.double().mean(0)
        _, directions = torch.linalg.eigh(rows.T @ rows)
        shown = (rows @ directions.flip(1))[:, : table.embedding_dim]
        # The scale of a random start: what follows was chosen for it.
        scale = table.weight.std() / shown.std().clamp_min(1e-12)
        table.weight[:, : shown.shape[1]] = (shown * scale).to(table.weight.dtype)
    if sif:
        rank = torch.arange(1, len(table.weight) + 1, dtype=torch.float64)
        frequency = rank.reciprocal() / rank.reciprocal().sum()
        weight = sif / (sif + frequency)
        table.weight *= (weight / weight.square().mean().sqrt())[:, None].to(table.weight.dtype)


def _vectors(
    tokeniser: Tokeniser,
    vocabulary: Vocabulary | None,
    start: Start | None,
    usual: Sequence[Start],
) -> Tensor | None:
    """Return what the tokens begin with, `(size, d)`, the usual if possible; None for chance."""
    if start == "random":
        return None
    if vocabulary is None:
        if start is None:
            return None
        raise ValueError(f"start={start} needs a teacher of texts whose tokens are known.")
    reason: ValueError | None = None
    for way in usual if start is None else [start]:
        try:
            return vocabulary.vectors(way, tokeniser)
        except ValueError as error:
            reason = error
    if start is not None:
        raise ValueError(f"start={start} is not possible: {reason}.") from reason
    if is_first():
        tell(f"the student's token vectors begin at random: {reason}")
    return None
