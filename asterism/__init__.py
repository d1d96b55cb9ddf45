"""Relation-based knowledge distillation."""

from asterism.methods.base import Method as Method
from asterism.methods.kd import KD as KD
from asterism.methods.kd import kd_loss as kd_loss
from asterism.methods.rkd import RKD as RKD
from asterism.methods.rkd import RKDAngleLoss as RKDAngleLoss
from asterism.methods.rkd import RKDDistanceLoss as RKDDistanceLoss
from asterism.methods.rkd import rkd_angle_loss as rkd_angle_loss
from asterism.methods.rkd import rkd_distance_loss as rkd_distance_loss
from asterism.methods.vrm import VRM as VRM
from asterism.methods.vrm import vrm_inter_class_loss as vrm_inter_class_loss
from asterism.methods.vrm import vrm_inter_sample_loss as vrm_inter_sample_loss
from asterism.types import Batch as Batch
from asterism.types import Outputs as Outputs

__version__ = "0.1.0"
__all__ = [
    "KD",
    "RKD",
    "VRM",
    "Batch",
    "Method",
    "Outputs",
    "RKDAngleLoss",
    "RKDDistanceLoss",
    "kd_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "vrm_inter_class_loss",
    "vrm_inter_sample_loss",
]
