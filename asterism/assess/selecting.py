"""What selects the best epoch of a training."""

from torch import Tensor, nn

from asterism.assess.seeing import outputs_of
from asterism.data import Data
from asterism.engine import Score
from asterism.evaluate import classification, neighbourhoods
from asterism.types import Outputs


def selection(teacher: nn.Module | None, data: Data, *, use_labels: bool) -> Score:
    """Return what selects the best epoch: accuracy, or without labels the teacher's neighbours."""
    if use_labels or teacher is None:

        def accuracy(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
            if outputs.logits is None or target is None:
                raise ValueError("the validation data have no labels: give some that have.")
            return {"accuracy": float(classification(outputs.logits, target).top1 or 0.0)}

        return accuracy
    source = data.validation_source or data.source
    taught, _ = outputs_of(teacher, source, data.validation)

    def overlap(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
        near = neighbourhoods(outputs.embedding, taught.embedding, k=10)
        return {"overlap@10": float(near.overlap(10).mean())}

    return overlap
