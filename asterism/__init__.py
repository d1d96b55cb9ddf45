"""Relation-based knowledge distillation."""

from asterism.methods.anchored import Anchored as Anchored
from asterism.methods.anchored import anchored_loss as anchored_loss
from asterism.methods.base import Method as Method
from asterism.methods.cc import CC as CC
from asterism.methods.cc import cc_loss as cc_loss
from asterism.methods.crd import CRD as CRD
from asterism.methods.crd import crd_loss as crd_loss
from asterism.methods.dist import DIST as DIST
from asterism.methods.dist import dist_inter_loss as dist_inter_loss
from asterism.methods.dist import dist_intra_loss as dist_intra_loss
from asterism.methods.dist import dist_loss as dist_loss
from asterism.methods.dkd import DKD as DKD
from asterism.methods.dkd import dkd_loss as dkd_loss
from asterism.methods.kd import KD as KD
from asterism.methods.kd import kd_loss as kd_loss
from asterism.methods.lp import LP as LP
from asterism.methods.lp import lp_loss as lp_loss
from asterism.methods.mlkd import MLKD as MLKD
from asterism.methods.mlkd import mlkd_loss as mlkd_loss
from asterism.methods.neighbourhood import Neighbourhood as Neighbourhood
from asterism.methods.neighbourhood import neighbourhood_loss as neighbourhood_loss
from asterism.methods.pkt import PKT as PKT
from asterism.methods.pkt import pkt_loss as pkt_loss
from asterism.methods.pointwise import Pointwise as Pointwise
from asterism.methods.pointwise import pointwise_loss as pointwise_loss
from asterism.methods.rkd import RKD as RKD
from asterism.methods.rkd import RKDAngleLoss as RKDAngleLoss
from asterism.methods.rkd import RKDDistanceLoss as RKDDistanceLoss
from asterism.methods.rkd import rkd_angle_loss as rkd_angle_loss
from asterism.methods.rkd import rkd_distance_loss as rkd_distance_loss
from asterism.methods.rrd import RRD as RRD
from asterism.methods.rrd import rrd_loss as rrd_loss
from asterism.methods.rrkd import RRKD as RRKD
from asterism.methods.rrkd import rrkd_loss as rrkd_loss
from asterism.methods.simreg import SimReg as SimReg
from asterism.methods.simreg import simreg_loss as simreg_loss
from asterism.methods.sp import SP as SP
from asterism.methods.sp import sp_loss as sp_loss
from asterism.methods.srd import SRD as SRD
from asterism.methods.srd import srd_loss as srd_loss
from asterism.methods.stella import Stella as Stella
from asterism.methods.stella import stella_similarity_loss as stella_similarity_loss
from asterism.methods.stella import stella_triplet_loss as stella_triplet_loss
from asterism.methods.vkd import VkD as VkD
from asterism.methods.vkd import vkd_loss as vkd_loss
from asterism.methods.vrm import VRM as VRM
from asterism.methods.vrm import vrm_inter_class_loss as vrm_inter_class_loss
from asterism.methods.vrm import vrm_inter_sample_loss as vrm_inter_sample_loss
from asterism.relations.budget import relation_memory as relation_memory
from asterism.student import load as load
from asterism.types import Batch as Batch
from asterism.types import Outputs as Outputs

__version__ = "0.1.0"
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
    "Method",
    "Neighbourhood",
    "Outputs",
    "Pointwise",
    "RKDAngleLoss",
    "RKDDistanceLoss",
    "SimReg",
    "Stella",
    "VkD",
    "anchored_loss",
    "cc_loss",
    "crd_loss",
    "dist_inter_loss",
    "dist_intra_loss",
    "dist_loss",
    "dkd_loss",
    "kd_loss",
    "load",
    "lp_loss",
    "mlkd_loss",
    "neighbourhood_loss",
    "pkt_loss",
    "pointwise_loss",
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
    "vkd_loss",
    "vrm_inter_class_loss",
    "vrm_inter_sample_loss",
]
