"""The terminal, as a place for names that nobody vouches for."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from asterism.words import printable


class Screen(Console):
    """A console that shows names as they are: brackets are no markup, and escapes are spelt out."""

    def __init__(self, *, stderr: bool = False, wide: int = 160) -> None:
        """Take the terminal's width, or so many columns where there is none."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = wide

    def render_str(self, text: str, **how: Any) -> Text:
        """Return a text as it is measured and laid out: spelt out before, so that none is cut."""
        return super().render_str(_spelt_out(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield what is printed: the one place that all of it comes through, Text too."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(_spelt_out(segment.text), segment.style)


def _spelt_out(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
