"""Modalities: images, texts and arrays. The only place where the kind of samples is asked for."""

from asterism.modality.array import Array
from asterism.modality.image import Image
from asterism.modality.modality import Modality as Modality
from asterism.modality.text import Text
from asterism.types import Kind

ARRAY, IMAGE, TEXT = Array(), Image(), Text()
MODALITIES: dict[Kind, Modality] = {each.name: each for each in (IMAGE, TEXT, ARRAY)}

__all__ = ["ARRAY", "IMAGE", "MODALITIES", "TEXT", "Modality"]
