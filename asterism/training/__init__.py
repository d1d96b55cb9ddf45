"""A training: from what a user asked for to a finished run folder."""

from asterism.training.opening import open_training as open_training
from asterism.training.provenance import CONTENTS as CONTENTS
from asterism.training.provenance import made_with as made_with
from asterism.training.provenance import recorded as recorded
from asterism.training.reopen import Reopened as Reopened
from asterism.training.reopen import reopen as reopen
from asterism.training.reopen import reopen_data as reopen_data
from asterism.training.training import by_time as by_time
from asterism.training.training import carry_out as carry_out
from asterism.training.training import with_anchors as with_anchors

__all__ = [
    "CONTENTS",
    "Reopened",
    "by_time",
    "carry_out",
    "made_with",
    "open_training",
    "recorded",
    "reopen",
    "reopen_data",
    "with_anchors",
]
