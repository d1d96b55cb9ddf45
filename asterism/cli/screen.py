"""The terminal, as a place for names that nobody vouches for."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from asterism.words import printable


class Screen(Console):
    """A console that shows names as they are: brackets are no markup, and escapes are spelt out."""

    def __init__(self, *, stderr: bool = False, wide: int = 160) -> None:
        """Take the terminal's width, or so many columns where there is none."""
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = wide

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield what is printed: the one place that all of it comes through."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style)
