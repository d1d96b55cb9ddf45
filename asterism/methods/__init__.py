"""The methods: one paper, one file. This is the only registry."""

from asterism.methods.crd import CRD as CRD
from asterism.methods.kd import KD as KD
from asterism.methods.lp import LP as LP
from asterism.methods.rkd import RKD as RKD
from asterism.methods.rrd import RRD as RRD
from asterism.methods.rrkd import RRKD as RRKD
from asterism.methods.sp import SP as SP

__all__ = ["CRD", "KD", "LP", "RKD", "RRD", "RRKD", "SP"]
