"""Models: modules that take images in [0, 1] and return `Outputs`."""

from asterism.models.build import BUILT_IN as BUILT_IN
from asterism.models.build import Spec as Spec
from asterism.models.build import build as build
from asterism.models.build import load_weights as load_weights
from asterism.models.build import weights_of as weights_of

__all__ = ["BUILT_IN", "Spec", "build", "load_weights", "weights_of"]
