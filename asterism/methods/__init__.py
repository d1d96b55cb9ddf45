"""The methods: one paper, one file. This is the only registry."""

from asterism.methods.kd import KD as KD
from asterism.methods.rkd import RKD as RKD
from asterism.methods.rrd import RRD as RRD

__all__ = ["KD", "RKD", "RRD"]
