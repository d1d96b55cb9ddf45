"""Views: augmented versions of images, each a pure function of seed, sample and number."""

from asterism.views.augment import VERSION as VERSION
from asterism.views.augment import Views as Views

__all__ = ["VERSION", "Views"]
