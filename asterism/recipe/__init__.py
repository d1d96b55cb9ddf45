"""The functions that users call: each builds a request and carries it out."""

from asterism.recipe.cache import cache as cache
from asterism.recipe.inspection import evaluate as evaluate
from asterism.recipe.inspection import examine as examine
from asterism.recipe.inspection import examined as examined
from asterism.recipe.shipping import export as export
from asterism.recipe.suites import Scores as Scores
from asterism.recipe.suites import suite as suite
from asterism.recipe.training import carry_out_all as carry_out_all
from asterism.recipe.training import distill as distill
from asterism.recipe.training import train as train
from asterism.recipe.transfer import Probed as Probed
from asterism.recipe.transfer import Transfer as Transfer
from asterism.recipe.transfer import probe as probe
from asterism.result import Result as Result

__all__ = [
    "Probed",
    "Result",
    "Scores",
    "Transfer",
    "cache",
    "carry_out_all",
    "distill",
    "evaluate",
    "examine",
    "examined",
    "export",
    "probe",
    "suite",
    "train",
]
