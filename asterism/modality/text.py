"""Texts: strings, which models tokenise by themselves."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from asterism.modality.modality import Modality, Pictures, cut
from asterism.types import Samples, Shape
from asterism.words import readable

# What is left of a character of two halves that was cut; no tokeniser can encode it.
_SURROGATES = re.compile("[\ud800-\udfff]")


class Text(Modality):
    """Texts of any length; they have one view, the clean one."""

    name = "text"
    plural = "texts"
    columns = ("text", "sentence")
    optimizer = "adamw"
    preparation = "check its weights and its pooling"

    def described(self, shape: Shape) -> str:
        """Return `texts`."""
        return self.plural

    def example(self, shape: Shape) -> Samples:
        """Return two texts."""
        return ["a text", "another"]

    def edges(self, shape: Shape) -> list[tuple[str, Samples]]:
        """Return an empty text, a very long one, one of unknown characters, and them together."""
        odd = {
            "an empty text": "",
            "a very long text": "the word of the day is a word " * 300,
            "unknown characters": "\u4dff \U0001f71a \u0f17 na\u00efve CAF\u00c9\t\n?!",
        }
        alone: list[tuple[str, Samples]] = [(name, [text]) for name, text in odd.items()]
        return [*alone, ("an empty, a long and a short text", ["", odd["a very long text"], "a"])]

    def pictures(self, parts: Sequence[Samples]) -> Pictures:
        """Return the texts themselves."""
        return {"texts": cut([str(text) for part in parts for text in part])}

    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return texts as they are."""
        texts = list(given)
        self.check(texts, shape)
        return texts

    def check(self, samples: Any, shape: Shape) -> None:
        """Refuse what is not a list of texts: a text alone would be read letter by letter."""
        if not isinstance(samples, list | tuple):
            kind = type(samples).__name__
            way_out = ": a text alone is [text]" if isinstance(samples, str) else ""
            raise ValueError(f"the student takes a list of texts; got {kind}{way_out}.")
        for i, text in enumerate(samples):
            if not isinstance(text, str):
                raise ValueError(
                    f"the student takes texts; sample {i} is {readable(repr(text))}, of type "
                    f"{type(text).__name__}."
                )
            if not text.isascii() and _SURROGATES.search(text):
                raise ValueError(
                    f"the student takes texts that can be encoded; sample {i} holds half of a "
                    f"surrogate pair: {readable(text)!r}."
                )

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each text."""
        for text in samples:
            yield str(text).encode(errors="surrogatepass")
