"""Fixed linear maps from the student's space to the teacher's, known before the first step."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.relations.directions import unit_rows
from asterism.relations.inputs import full_precision
from asterism.types import Outputs

Start = Literal["procrustes", "pca", "random"]

# Share of the mean variance that a whitening gives every direction at least.
LEAST_VARIANCE = 1e-3


def procrustes_map(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Float[Tensor, "d_teacher d_student"]:
    r"""Return the orthonormal map that takes the student's rows nearest to the teacher's.

    $$\max_P \sum_i \langle P s_i, t_i \rangle, \qquad
      P^\top P = I \ (d_s \le d_t) \quad\text{or}\quad P P^\top = I \ (d_s \ge d_t)$$

    With $T^\top S = U \Sigma V^\top$ it is $U V^\top$ (Schönemann, Psychometrika 31(1), 1966). For
    a student no wider than the teacher that is also the nearest in squares.

    Args:
        student: Rows of the student.
        teacher: Rows of the teacher for the same samples.
    """
    left, _, right = torch.linalg.svd(teacher.double().T @ student.double(), full_matrices=False)
    turn: Tensor = left @ right
    return turn.to(student.dtype)


def principal_map(
    teacher: Float[Tensor, "n d_teacher"], student_dim: int
) -> Float[Tensor, "d_teacher d_student"]:
    """Return the map whose columns are the leading principal directions of the teacher's rows.

    Directions are those of the rows as they are: subtract their mean first for the usual ones. The
    largest entry of each is positive, so that the same rows give the same map on any machine. A
    student wider than the teacher has columns of zeros at the end, which it may use as it likes.

    Args:
        teacher: Rows of the teacher.
        student_dim: Width of the student: how many directions.
    """
    wide = teacher.double()
    directions = torch.linalg.eigh(wide.T @ wide).eigenvectors.flip(1)[:, :student_dim]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    missing = student_dim - directions.shape[1]
    return torch.nn.functional.pad(directions, (0, missing)).to(teacher.dtype)


def random_map(student_dim: int, teacher_dim: int) -> Float[Tensor, "d_teacher d_student"]:
    """Return an orthonormal map that depends on nothing but the two widths.

    It is drawn by a generator of its own, so every rank of a distributed run and every restart has
    the same one, and no other draw moves.

    Args:
        student_dim: Width of the student.
        teacher_dim: Width of the teacher.
    """
    wide, narrow = max(student_dim, teacher_dim), min(student_dim, teacher_dim)
    drawn = torch.randn(
        wide, narrow, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    columns: Tensor = torch.linalg.qr(drawn).Q.float()
    return columns if teacher_dim == wide else columns.T.contiguous()


@full_precision
def mapped(
    rows: Float[Tensor, "n d_student"], matrix: Float[Tensor, "d_teacher d_student"]
) -> Float[Tensor, "n d_teacher"]:
    """Return the student's rows in the teacher's space.

    Args:
        rows: Rows of the student.
        matrix: The map.
    """
    return rows @ matrix.T


@full_precision
def without_mean(
    rows: Float[Tensor, "n d_teacher"], mean: Float[Tensor, " d_teacher"]
) -> Float[Tensor, "n d_teacher"]:
    """Return the teacher's rows less a mean.

    Args:
        rows: Rows of the teacher.
        mean: The mean.
    """
    return rows - mean


def finite_rows(
    sample: tuple[Outputs, Outputs] | None,
) -> tuple[Float[Tensor, "n d_student"], Float[Tensor, "n d_teacher"]] | None:
    """Return both networks' embeddings of a sample, on the CPU, without rows that are not finite.

    Args:
        sample: What `Method.setup` is given.

    Returns:
        The rows in float32 or better; None if there are none.
    """
    if sample is None:
        return None
    student, teacher = (outputs.embedding.detach().cpu() for outputs in sample)
    good = student.isfinite().all(1) & teacher.isfinite().all(1)
    if not good.any():
        return None
    dtype = torch.promote_types(student.dtype, torch.float32)
    return student[good].to(dtype), teacher[good].to(dtype)


def whitening(
    teacher: Float[Tensor, "n d_teacher"],
) -> tuple[Float[Tensor, " d_teacher"], Float[Tensor, "d_teacher d_teacher"]]:
    r"""Return the mean of the teacher's rows and the matrix that decorrelates what is left.

    $$W = C^{-1/2}, \qquad C = \frac{1}{n} \sum_i (t_i - m)(t_i - m)^\top$$

    It turns no more than it must (ZCA). Directions with less than a thousandth of the mean variance
    are stretched as if they had that: from few rows, or in a space with empty directions, noise
    would be blown up to the size of everything else.

    Args:
        teacher: Rows of the teacher.
    """
    wide = teacher.double()
    mean = wide.mean(0)
    wide = wide - mean
    variance, directions = torch.linalg.eigh(wide.T @ wide / len(wide))
    least = LEAST_VARIANCE * variance.mean()
    stretch = variance.clamp_min(least if least > 0 else 1.0).rsqrt()
    return mean.float(), (directions * stretch @ directions.T).float()


def fixed_map(
    start: Start,
    rows: tuple[Float[Tensor, "n d_student"], Float[Tensor, "n d_teacher"]] | None,
    *,
    student_dim: int,
    teacher_dim: int,
    centre: bool,
    directions: bool,
) -> tuple[Float[Tensor, "d_teacher d_student"], Float[Tensor, " d_teacher"]]:
    """Return a map to start from, and what to subtract from the teacher's rows beforehand.

    Args:
        start: `procrustes`, `pca`, or `random`, which looks at no rows.
        rows: Both networks' rows for the same samples, see `finite_rows`. Without any the map is
            the random one.
        student_dim: Width of the student.
        teacher_dim: Width of the teacher.
        centre: Whether the teacher's mean is subtracted; otherwise zero is returned for it.
        directions: Whether `procrustes` looks at directions alone, each row divided by its length.
    """
    mean = torch.zeros(teacher_dim)
    if rows is None:
        return random_map(student_dim, teacher_dim), mean
    student, teacher = rows
    if centre:
        mean = teacher.double().mean(0).float()
        student, teacher = student - student.mean(0), teacher - mean
    if start == "random":
        return random_map(student_dim, teacher_dim), mean
    if start == "pca":
        return principal_map(teacher, student_dim).float(), mean
    if directions:
        student, teacher = unit_rows(student), unit_rows(teacher)
    return procrustes_map(student, teacher).float(), mean
