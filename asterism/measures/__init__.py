"""Measures of a student: its classes, its neighbourhoods, its likeness to the teacher, its cost."""

from asterism.measures.alignment import Affine as Affine
from asterism.measures.alignment import Compatibility as Compatibility
from asterism.measures.alignment import compatibility as compatibility
from asterism.measures.alignment import procrustes as procrustes
from asterism.measures.alignment import ridge as ridge
from asterism.measures.classification import Classification as Classification
from asterism.measures.classification import calibration_error as calibration_error
from asterism.measures.classification import classification as classification
from asterism.measures.cost import Cost as Cost
from asterism.measures.cost import cost as cost
from asterism.measures.cost import machine_of as machine_of
from asterism.measures.embedding import collect as collect
from asterism.measures.episodes import Episodes as Episodes
from asterism.measures.episodes import FewShot as FewShot
from asterism.measures.episodes import few_shot as few_shot
from asterism.measures.estimate import Estimate as Estimate
from asterism.measures.estimate import mean_of as mean_of
from asterism.measures.estimate import share_of as share_of
from asterism.measures.fidelity import Fidelity as Fidelity
from asterism.measures.fidelity import fidelity as fidelity
from asterism.measures.fidelity import neighbourhoods as neighbourhoods
from asterism.measures.neighbours import nearest as nearest
from asterism.measures.probe import Solver as Solver
from asterism.measures.probe import linear_probe as linear_probe
from asterism.measures.reduction import principal_components as principal_components
from asterism.measures.reduction import random_projection as random_projection
from asterism.measures.retrieval import Retrieval as Retrieval
from asterism.measures.retrieval import knn_accuracy as knn_accuracy
from asterism.measures.retrieval import retrieval as retrieval
from asterism.measures.spectrum import Health as Health
from asterism.measures.spectrum import effective_rank as effective_rank
from asterism.measures.spectrum import health as health
from asterism.measures.spectrum import linear_cka as linear_cka

__all__ = [
    "Affine",
    "Classification",
    "Compatibility",
    "Cost",
    "Episodes",
    "Estimate",
    "FewShot",
    "Fidelity",
    "Health",
    "Retrieval",
    "Solver",
    "calibration_error",
    "classification",
    "collect",
    "compatibility",
    "cost",
    "effective_rank",
    "few_shot",
    "fidelity",
    "health",
    "knn_accuracy",
    "linear_cka",
    "linear_probe",
    "machine_of",
    "mean_of",
    "nearest",
    "neighbourhoods",
    "principal_components",
    "procrustes",
    "random_projection",
    "retrieval",
    "ridge",
    "share_of",
]
