"""Vectors: a student's embeddings of data of any length, in one file."""

from asterism.vectors.writing import Progress as Progress
from asterism.vectors.writing import Vectors as Vectors
from asterism.vectors.writing import embed as embed

__all__ = ["Progress", "Vectors", "embed"]
