"""Which views a training makes of its samples."""

from collections.abc import Sequence

from asterism.augment import Views
from asterism.data import Source
from asterism.engine.settings import Settings
from asterism.methods.base import Method


def training_views(source: Source, methods: Sequence[Method], settings: Settings) -> Views:
    """Return the views that methods and settings ask for.

    Raises:
        ValueError: If virtual ones are asked for of data that come augmented.
    """
    padding = 0 if source.image_shape is None else max(1, min(source.image_shape[1:]) // 8)
    padding = padding if settings.padding is None else settings.padding
    asked = (settings.train_views or "real").count("virtual")
    virtual = max([asked, *(method.views - 1 for method in methods)])
    if virtual and source.augmented:
        raise ValueError(
            "virtual views are made of uint8 images; this dataset gives float images, which are "
            "taken as they come."
        )
    return Views(virtual, settings.view_seed, padding, source.flip)
