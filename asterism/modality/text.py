"""Texts: strings, which models tokenise by themselves."""

from collections.abc import Iterator, Sequence
from typing import Any

from asterism import reading
from asterism.modality.modality import Modality, Pictures, cut
from asterism.types import Samples, Shape


class Text(Modality):
    """Texts of any length; they have one view, the clean one."""

    name = "text"
    plural = "texts"
    columns = ("text", "sentence")
    optimizer = "adamw"
    has_files = False
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
        return reading.texts(list(given))

    def check(self, samples: Any, shape: Shape) -> None:
        """Refuse what is not a list of texts: a text alone would be read letter by letter."""
        reading.texts(samples)

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each text."""
        for text in samples:
            yield str(text).encode(errors="surrogatepass")
