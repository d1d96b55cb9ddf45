"""`export()`: a student that leaves its run folder and works where it is needed."""

from asterism.exporters.account import Exported as Exported
from asterism.exporters.export import export as export
from asterism.exporters.formats import EXPORTERS as EXPORTERS
from asterism.exporters.push import Pushed as Pushed
from asterism.exporters.push import push as push

__all__ = ["EXPORTERS", "Exported", "Pushed", "export", "push"]
