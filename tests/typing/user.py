"""A user's program, read by mypy alone: what asterism's names return is known to it.

Checked in scripts/check; nothing runs it.
"""

from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn

import asterism
from asterism.student import Student


def program() -> None:
    """Distil, and call a loss."""
    student, teacher = nn.Linear(16, 8), nn.Linear(16, 32)
    result = asterism.distill(
        teacher, student, "digits", method=[asterism.RKD()], epochs=1, out="run"
    )
    assert_type(result.student, Student)
    for name, probability in result.student.predict(["cat.png"]):
        assert_type((name, probability), tuple[str, float])
    assert_type(result.run, Path)
    assert_type(result.accuracy, float | None)
    assert_type(asterism.rkd_distance_loss(torch.rand(4, 8), torch.rand(4, 16)), Tensor)
    assert_type(asterism.gather_rows(torch.rand(4, 8)), Tensor)
    assert_type(
        asterism.Distillation(student, teacher, asterism.RKD(), example=torch.rand(2, 16)).methods,
        nn.ModuleList,
    )
