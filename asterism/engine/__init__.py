"""The engine: the only package that knows Lightning."""

from lightning.pytorch import seed_everything as seed_everything

from asterism.engine.distiller import Score as Score
from asterism.engine.fit import Fitted as Fitted
from asterism.engine.fit import fit as fit
from asterism.engine.networks import training_views as training_views
from asterism.engine.settings import Settings as Settings

__all__ = ["Fitted", "Score", "Settings", "fit", "seed_everything", "training_views"]
