"""Relation-based knowledge distillation."""

from asterism.methods.base import Method as Method
from asterism.methods.crd import CRD as CRD
from asterism.methods.crd import crd_loss as crd_loss
from asterism.methods.kd import KD as KD
from asterism.methods.kd import kd_loss as kd_loss
from asterism.methods.lp import LP as LP
from asterism.methods.lp import lp_loss as lp_loss
from asterism.methods.rkd import RKD as RKD
from asterism.methods.rkd import RKDAngleLoss as RKDAngleLoss
from asterism.methods.rkd import RKDDistanceLoss as RKDDistanceLoss
from asterism.methods.rkd import rkd_angle_loss as rkd_angle_loss
from asterism.methods.rkd import rkd_distance_loss as rkd_distance_loss
from asterism.methods.rrd import RRD as RRD
from asterism.methods.rrd import rrd_loss as rrd_loss
from asterism.methods.rrkd import RRKD as RRKD
from asterism.methods.rrkd import rrkd_loss as rrkd_loss
from asterism.methods.sp import SP as SP
from asterism.methods.sp import sp_loss as sp_loss
from asterism.run import load as load
from asterism.types import Batch as Batch
from asterism.types import Outputs as Outputs

__version__ = "0.1.0"
__all__ = [
    "CRD",
    "KD",
    "LP",
    "RKD",
    "RRD",
    "RRKD",
    "SP",
    "Batch",
    "Method",
    "Outputs",
    "RKDAngleLoss",
    "RKDDistanceLoss",
    "crd_loss",
    "kd_loss",
    "load",
    "lp_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "rrd_loss",
    "rrkd_loss",
    "sp_loss",
]
