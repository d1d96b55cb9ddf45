"""Models: modules that take images in [0, 1], or texts, and return `Outputs`."""

from asterism.models.build import BUILT_IN as BUILT_IN
from asterism.models.build import build as build
from asterism.models.build import input_size as input_size
from asterism.models.build import load_weights as load_weights
from asterism.models.build import named as named
from asterism.models.build import unweighted as unweighted
from asterism.models.build import weights_of as weights_of
from asterism.models.hub import card_of as card_of
from asterism.models.own import as_text as as_text
from asterism.models.own import in_own_code as in_own_code
from asterism.models.own import in_words as in_words
from asterism.models.own import is_own as is_own
from asterism.models.spec import Spec as Spec
from asterism.models.tokens import tokeniser_of as tokeniser_of

__all__ = [
    "BUILT_IN",
    "Spec",
    "as_text",
    "build",
    "card_of",
    "in_own_code",
    "in_words",
    "input_size",
    "is_own",
    "load_weights",
    "named",
    "tokeniser_of",
    "unweighted",
    "weights_of",
]
