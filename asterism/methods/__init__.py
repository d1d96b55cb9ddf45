"""The methods: one paper, one file. This is the only registry."""

from asterism.methods.kd import KD as KD
from asterism.methods.rkd import RKD as RKD

__all__ = ["KD", "RKD"]
