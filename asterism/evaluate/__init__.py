"""Measures of a student: its classes, its neighbourhoods, its likeness to the teacher, its cost."""

from asterism.evaluate.alignment import Affine as Affine
from asterism.evaluate.alignment import Compatibility as Compatibility
from asterism.evaluate.alignment import compatibility as compatibility
from asterism.evaluate.alignment import procrustes as procrustes
from asterism.evaluate.alignment import ridge as ridge
from asterism.evaluate.classification import Classification as Classification
from asterism.evaluate.classification import calibration_error as calibration_error
from asterism.evaluate.classification import classification as classification
from asterism.evaluate.cost import Cost as Cost
from asterism.evaluate.cost import cost as cost
from asterism.evaluate.embedding import collect as collect
from asterism.evaluate.estimate import Estimate as Estimate
from asterism.evaluate.estimate import mean_of as mean_of
from asterism.evaluate.fidelity import Fidelity as Fidelity
from asterism.evaluate.fidelity import fidelity as fidelity
from asterism.evaluate.fidelity import neighbourhoods as neighbourhoods
from asterism.evaluate.neighbours import nearest as nearest
from asterism.evaluate.probe import linear_probe as linear_probe
from asterism.evaluate.reduction import principal_components as principal_components
from asterism.evaluate.reduction import random_projection as random_projection
from asterism.evaluate.retrieval import Retrieval as Retrieval
from asterism.evaluate.retrieval import knn_accuracy as knn_accuracy
from asterism.evaluate.retrieval import retrieval as retrieval
from asterism.evaluate.spectrum import Health as Health
from asterism.evaluate.spectrum import effective_rank as effective_rank
from asterism.evaluate.spectrum import health as health
from asterism.evaluate.spectrum import linear_cka as linear_cka

__all__ = [
    "Affine",
    "Classification",
    "Compatibility",
    "Cost",
    "Estimate",
    "Fidelity",
    "Health",
    "Retrieval",
    "calibration_error",
    "classification",
    "collect",
    "compatibility",
    "cost",
    "effective_rank",
    "fidelity",
    "health",
    "knn_accuracy",
    "linear_cka",
    "linear_probe",
    "mean_of",
    "nearest",
    "neighbourhoods",
    "principal_components",
    "procrustes",
    "random_projection",
    "retrieval",
    "ridge",
]
