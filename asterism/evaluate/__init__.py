"""Measures of a student: its classes, its neighbourhoods, its likeness to the teacher, its cost."""

from asterism.evaluate.classification import Classification as Classification
from asterism.evaluate.classification import classification as classification
from asterism.evaluate.cost import Cost as Cost
from asterism.evaluate.cost import cost as cost
from asterism.evaluate.embedding import collect as collect
from asterism.evaluate.fidelity import Fidelity as Fidelity
from asterism.evaluate.fidelity import fidelity as fidelity
from asterism.evaluate.neighbours import nearest as nearest
from asterism.evaluate.probe import linear_probe as linear_probe
from asterism.evaluate.retrieval import Retrieval as Retrieval
from asterism.evaluate.retrieval import knn_accuracy as knn_accuracy
from asterism.evaluate.retrieval import retrieval as retrieval

__all__ = [
    "Classification",
    "Cost",
    "Fidelity",
    "Retrieval",
    "classification",
    "collect",
    "cost",
    "fidelity",
    "knn_accuracy",
    "linear_probe",
    "nearest",
    "retrieval",
]
