"""A student that leaves its run folder: one format, one file; each is compared with the student."""

from asterism.exporters.account import Exported as Exported
from asterism.exporters.formats import EXPORTERS as EXPORTERS
from asterism.exporters.formats import chosen as chosen
from asterism.exporters.push import Pushed as Pushed
from asterism.exporters.push import push as push
from asterism.exporters.writing import TOLERANCE as TOLERANCE
from asterism.exporters.writing import subject_of as subject_of
from asterism.exporters.writing import write_exports as write_exports

__all__ = [
    "EXPORTERS",
    "TOLERANCE",
    "Exported",
    "Pushed",
    "chosen",
    "push",
    "subject_of",
    "write_exports",
]
