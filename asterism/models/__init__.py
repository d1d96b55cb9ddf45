"""Models: modules that take images in [0, 1] and return `Outputs`."""

from asterism.models.build import BUILT_IN as BUILT_IN
from asterism.models.build import Spec as Spec
from asterism.models.build import build as build
from asterism.models.build import load_weights as load_weights
from asterism.models.build import named as named
from asterism.models.build import weights_of as weights_of
from asterism.models.own import as_text as as_text
from asterism.models.own import in_words as in_words

__all__ = [
    "BUILT_IN",
    "Spec",
    "as_text",
    "build",
    "in_words",
    "load_weights",
    "named",
    "weights_of",
]
