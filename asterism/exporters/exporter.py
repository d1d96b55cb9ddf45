"""The interface of an exporter: one format, one file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from asterism.exporters.subject import Encode, Subject


class Exporter(ABC):
    """A format that a student can leave the run folder in.

    A new one is a file here and a line in `EXPORTERS`; the contract tests then run for it. Foreign
    libraries are imported when a method needs them, never before.

    Attributes:
        name: Its name, as `--to` has it.
        libraries: Import names of the libraries that write and read it.
        extra: The extra of asterism that brings them.
        has_int8: Whether it has a form in 8 bits.
        has_uint8: Whether images may go in as bytes.
        has_logits: Whether it holds class scores beside the embedding.
        also: Another way to load it, for the card; a sentence.
        limits: Trials (`trials.py`) that the format cannot pass, each with the reason; they are
            measured and told, and not refused.
    """

    name: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "export"
    has_int8: ClassVar[bool] = False
    has_uint8: ClassVar[bool] = False
    has_logits: ClassVar[bool] = True
    also: ClassVar[str] = ""
    limits: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @abstractmethod
    def refusal(self, subject: Subject) -> str | None:
        """Return why the format cannot hold a student, as the end of a sentence; None if it can."""

    @abstractmethod
    def write(self, subject: Subject, folder: Path) -> None:
        """Write the student's files into an empty folder.

        Raises:
            ValueError: If it turns out that the format cannot hold it; the message is a sentence.
        """

    @abstractmethod
    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return what gives outputs of the written files, by the format's own library."""

    @abstractmethod
    def snippet(self, subject: Subject) -> str:
        """Return the lines of Python that load it from the folder `.`, for the card.

        They end with `embedding` `(n, d)` of the samples `samples`, which are a list of texts, a
        float array of images in [0, 1], or a float array.
        """
