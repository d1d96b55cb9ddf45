"""Models: modules that take images in [0, 1], arrays or texts, and return `Outputs`."""

from asterism.models.build import BUILT_IN as BUILT_IN
from asterism.models.build import MODELS_OF as MODELS_OF
from asterism.models.build import arguments_of as arguments_of
from asterism.models.build import build as build
from asterism.models.build import input_size as input_size
from asterism.models.build import named as named
from asterism.models.build import unweighted as unweighted
from asterism.models.build import with_unit_rows as with_unit_rows
from asterism.models.hub import card_of as card_of
from asterism.models.modes import evaluating as evaluating
from asterism.models.modes import in_mode as in_mode
from asterism.models.modes import keeping_buffers as keeping_buffers
from asterism.models.own import in_own_code as in_own_code
from asterism.models.own import in_words as in_words
from asterism.models.spec import Spec as Spec
from asterism.models.spec import spec_of_card as spec_of_card
from asterism.models.tokens import tokeniser_of as tokeniser_of
from asterism.models.vocabulary import Vocabulary as Vocabulary
from asterism.models.vocabulary import vocabulary_of as vocabulary_of
from asterism.models.weights import load_weights as load_weights
from asterism.models.weights import weights_fingerprint as weights_fingerprint
from asterism.models.weights import weights_of as weights_of

__all__ = [
    "BUILT_IN",
    "MODELS_OF",
    "Spec",
    "Vocabulary",
    "arguments_of",
    "build",
    "card_of",
    "evaluating",
    "in_mode",
    "in_own_code",
    "in_words",
    "input_size",
    "keeping_buffers",
    "load_weights",
    "named",
    "spec_of_card",
    "tokeniser_of",
    "unweighted",
    "vocabulary_of",
    "weights_fingerprint",
    "weights_of",
    "with_unit_rows",
]
