"""Tokenising inside the model, so that teacher and student may differ in it."""

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asterism.types import Outputs, join_outputs

# Texts that a model takes at once when there are more.
GROUP = 64
# Half of a character that UTF-16 writes in two, as an emoji: what is left where a text was cut.
HALF = re.compile("[\ud800-\udfff]")


class Tokeniser:
    """Texts to numbers of tokens, after a `tokenizer.json` of the `tokenizers` library.

    Attributes:
        json: The content of that file: with it alone the tokeniser can be made again.
        size: How many numbers there are.
    """

    def __init__(self, json: str, *, max_length: int, special: bool = True) -> None:
        """Read the description of a tokeniser.

        Args:
            json: The content of a `tokenizer.json`.
            max_length: Tokens of a text beyond this number are cut off.
            special: Whether to add the tokens that mark begin and end.

        Raises:
            ValueError: If it describes no tokeniser, or the library is missing.
        """
        try:
            library = importlib.import_module("tokenizers")
        except ImportError as error:
            raise ValueError(
                "models of texts need the tokenizers library: pip install 'asterism[text]'."
            ) from error
        try:
            self.tokenizer: Any = library.Tokenizer.from_str(json)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"this is no tokenizer.json: {error}.") from error
        self.json = json
        self.special = special
        self.size = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the numbers of the tokens of each text."""
        _refuse_no_texts(texts)
        if _traced():
            raise ValueError(
                "torch.export would keep the tokens of this example for ever: export the model's "
                "encode(numbers, mask), or use `asterism export`."
            )
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=self.special)
        return [one.ids for one in encoded]

    def marked(self, numbers: Tensor, prompt: str = "") -> Tensor:
        """Return what a model is given of texts, `(n, t)`, whose own tokens have these numbers.

        Args:
            numbers: Shape `(n, t)`, without the tokens that mark begin and end.
            prompt: What stands before each text.
        """
        one = self.tokenizer.encode(f"{prompt}a", add_special_tokens=self.special)
        own = [
            i
            for i, (_, end) in enumerate(one.offsets)
            if end > len(prompt) and not one.special_tokens_mask[i]
        ] or [len(one.ids) - 1]
        ends = (one.ids[: own[0]], one.ids[own[-1] + 1 :])
        begin, end = (torch.tensor(m).long().expand(len(numbers), -1) for m in ends)
        return torch.cat([begin, numbers.cpu(), end], 1)

    def padded(self, texts: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return numbers and a mask of what is no padding, both `(n, length of the longest)`.

        A text without tokens keeps one of padding: attention and means need something.
        """
        ids = self(texts)
        lengths = torch.tensor([max(1, len(one)) for one in ids])
        mask = torch.arange(int(lengths.max()) if ids else 1) < lengths[:, None]
        numbers = torch.zeros(mask.shape, dtype=torch.int64)
        filled = torch.arange(mask.shape[1]) < torch.tensor([len(one) for one in ids])[:, None]
        numbers[filled] = torch.tensor([i for one in ids for i in one], dtype=torch.int64)
        return numbers.to(device), mask.to(device)


def by_length(texts: list[str], encode: Callable[[list[str]], Outputs]) -> Outputs:
    """Return what a model makes of texts, those of like length together, in the order given.

    A short text beside a long one is padded to its length, and padding costs as much as text does.
    """
    _refuse_no_texts(texts)
    if len(texts) <= GROUP:
        return encode(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    groups = (order[k : k + GROUP] for k in range(0, len(order), GROUP))
    embedding, logits = join_outputs([encode([texts[i] for i in some]) for some in groups])
    back = torch.tensor(order).argsort().to(embedding.device)
    return Outputs(embedding[back], None if logits is None else logits[back])


def _traced() -> bool:
    # torch 2.6 cannot tell whether it exports.
    exporting = getattr(torch.compiler, "is_exporting", None)
    return exporting is not None and bool(exporting())


def _refuse_no_texts(texts: Sequence[str]) -> None:
    """Raise a ValueError for what the library would refuse in an error of another kind."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"a model of texts takes a list of strings; got {type(texts).__name__}.")
    for i, text in enumerate(texts):
        if not text.isascii() and HALF.search(text):
            raise ValueError(
                f"a model of texts takes whole characters; text {i} holds half of one."
            )


def tokeniser_of(model: nn.Module | None) -> Tokeniser | None:
    """Return the tokeniser inside a model; None for a model of images."""
    if model is None:
        return None
    tokenisers = (getattr(module, "tokeniser", None) for module in model.modules())
    return next((x for x in tokenisers if isinstance(x, Tokeniser)), None)


def read_tokeniser(path: Path) -> str:
    """Return the content of a `tokenizer.json`, or of the one in a folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no tokenizer.json at {path}.")
    return file.read_text(encoding="utf-8")
