"""The methods: one paper, one file. This is the only registry."""

from asterism.methods.anchored import Anchored as Anchored
from asterism.methods.cc import CC as CC
from asterism.methods.crd import CRD as CRD
from asterism.methods.dist import DIST as DIST
from asterism.methods.dkd import DKD as DKD
from asterism.methods.kd import KD as KD
from asterism.methods.lp import LP as LP
from asterism.methods.mlkd import MLKD as MLKD
from asterism.methods.neighbourhood import Neighbourhood as Neighbourhood
from asterism.methods.pkt import PKT as PKT
from asterism.methods.pointwise import Pointwise as Pointwise
from asterism.methods.rkd import RKD as RKD
from asterism.methods.rrd import RRD as RRD
from asterism.methods.rrkd import RRKD as RRKD
from asterism.methods.simreg import SimReg as SimReg
from asterism.methods.sp import SP as SP
from asterism.methods.srd import SRD as SRD
from asterism.methods.stella import Stella as Stella
from asterism.methods.vkd import VkD as VkD
from asterism.methods.vrm import VRM as VRM

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
    "Neighbourhood",
    "Pointwise",
    "SimReg",
    "Stella",
    "VkD",
]
