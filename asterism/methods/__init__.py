"""The methods: one paper, one file. This is the only registry."""

from asterism.methods.kd import KD as KD
from asterism.methods.rkd import RKD as RKD
from asterism.methods.vrm import VRM as VRM

__all__ = ["KD", "RKD", "VRM"]
