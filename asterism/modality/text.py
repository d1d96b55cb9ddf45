"""Texts: strings, which models tokenise by themselves."""

from collections.abc import Iterator, Sequence
from typing import Any

from asterism.modality.modality import Modality, Pictures, cut
from asterism.types import Samples, Shape


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

    def pictures(self, parts: Sequence[Samples]) -> Pictures:
        """Return the texts themselves."""
        return {"texts": cut([str(text) for part in parts for text in part])}

    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return texts."""
        return [str(text) for text in given]

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each text."""
        for text in samples:
            yield str(text).encode(errors="surrogatepass")
