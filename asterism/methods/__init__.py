"""The methods: one paper, one file. This is the only registry."""

from asterism.methods.cc import CC as CC
from asterism.methods.dist import DIST as DIST
from asterism.methods.dkd import DKD as DKD
from asterism.methods.kd import KD as KD
from asterism.methods.pkt import PKT as PKT
from asterism.methods.rkd import RKD as RKD
from asterism.methods.vrm import VRM as VRM

__all__ = ["CC", "DIST", "DKD", "KD", "PKT", "RKD", "VRM"]
