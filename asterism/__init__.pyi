"""Relation-based knowledge distillation."""

from .alignment import align as align
from .distributed import gather_rows as gather_rows
from .engine import Callback as Callback
from .engine import Distillation as Distillation
from .exporters import push as push
from .methods.anchored import Anchored as Anchored
from .methods.anchored import anchored_loss as anchored_loss
from .methods.base import Method as Method
from .methods.cc import CC as CC
from .methods.cc import cc_loss as cc_loss
from .methods.crd import CRD as CRD
from .methods.crd import crd_loss as crd_loss
from .methods.dist import DIST as DIST
from .methods.dist import dist_inter_loss as dist_inter_loss
from .methods.dist import dist_intra_loss as dist_intra_loss
from .methods.dist import dist_loss as dist_loss
from .methods.dkd import DKD as DKD
from .methods.dkd import dkd_loss as dkd_loss
from .methods.kd import KD as KD
from .methods.kd import kd_loss as kd_loss
from .methods.lp import LP as LP
from .methods.lp import lp_loss as lp_loss
from .methods.mlkd import MLKD as MLKD
from .methods.mlkd import mlkd_loss as mlkd_loss
from .methods.neighbourhood import Neighbourhood as Neighbourhood
from .methods.neighbourhood import neighbourhood_loss as neighbourhood_loss
from .methods.pkt import PKT as PKT
from .methods.pkt import pkt_loss as pkt_loss
from .methods.pointwise import Pointwise as Pointwise
from .methods.pointwise import pointwise_loss as pointwise_loss
from .methods.rkd import RKD as RKD
from .methods.rkd import RKDAngleLoss as RKDAngleLoss
from .methods.rkd import RKDDistanceLoss as RKDDistanceLoss
from .methods.rkd import rkd_angle_loss as rkd_angle_loss
from .methods.rkd import rkd_distance_loss as rkd_distance_loss
from .methods.rrd import RRD as RRD
from .methods.rrd import rrd_loss as rrd_loss
from .methods.rrkd import RRKD as RRKD
from .methods.rrkd import rrkd_loss as rrkd_loss
from .methods.simreg import SimReg as SimReg
from .methods.simreg import simreg_loss as simreg_loss
from .methods.sp import SP as SP
from .methods.sp import sp_loss as sp_loss
from .methods.srd import SRD as SRD
from .methods.srd import srd_loss as srd_loss
from .methods.stella import Stella as Stella
from .methods.stella import stella_similarity_loss as stella_similarity_loss
from .methods.stella import stella_triplet_loss as stella_triplet_loss
from .methods.vkd import VkD as VkD
from .methods.vkd import vkd_loss as vkd_loss
from .methods.vrm import VRM as VRM
from .methods.vrm import vrm_inter_class_loss as vrm_inter_class_loss
from .methods.vrm import vrm_inter_sample_loss as vrm_inter_sample_loss
from .recipe import cache as cache
from .recipe import distill as distill
from .recipe import evaluate as evaluate
from .recipe import examine as examine
from .recipe import export as export
from .recipe import probe as probe
from .recipe import train as train
from .relations.budget import relation_memory as relation_memory
from .result import Result as Result
from .student import Student as Student
from .student import load as load
from .types import Batch as Batch
from .types import Outputs as Outputs
from .vectors import embed as embed

__version__: str
__all__ = [
    "CC",
    "CRD",
    "DIST",
    "DKD",
    "KD",
    "LP",
    "MLKD",
    "PKT",
    "RKD",
    "RRD",
    "RRKD",
    "SP",
    "SRD",
    "VRM",
    "Anchored",
    "Batch",
    "Callback",
    "Distillation",
    "Method",
    "Neighbourhood",
    "Outputs",
    "Pointwise",
    "RKDAngleLoss",
    "RKDDistanceLoss",
    "Result",
    "SimReg",
    "Stella",
    "Student",
    "VkD",
    "align",
    "anchored_loss",
    "cache",
    "cc_loss",
    "crd_loss",
    "dist_inter_loss",
    "dist_intra_loss",
    "dist_loss",
    "distill",
    "dkd_loss",
    "embed",
    "evaluate",
    "examine",
    "export",
    "gather_rows",
    "kd_loss",
    "load",
    "lp_loss",
    "mlkd_loss",
    "neighbourhood_loss",
    "pkt_loss",
    "pointwise_loss",
    "probe",
    "push",
    "relation_memory",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "rrd_loss",
    "rrkd_loss",
    "simreg_loss",
    "sp_loss",
    "srd_loss",
    "stella_similarity_loss",
    "stella_triplet_loss",
    "train",
    "vkd_loss",
    "vrm_inter_class_loss",
    "vrm_inter_sample_loss",
]
