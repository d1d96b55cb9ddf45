"""Coordinates in the teacher's space, through a linear map that is fixed before the first step."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_rows,
    connected_zero,
    full_precision,
)
from asterism.relations.maps import finite_rows, fixed_map
from asterism.types import Batch, Outputs

Form = Literal["cosine", "squared"]
Start = Literal["procrustes", "pca", "random", "given"]


@full_precision
def anchored_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    matrix: Float[Tensor, "d_teacher d_student"],
    *,
    mean: Float[Tensor, " d_teacher"] | None = None,
    form: Form = "cosine",
) -> Float[Tensor, ""]:
    r"""Match the student's rows, mapped into the teacher's space, with the teacher's rows.

    With the fixed matrix $P$ and $m$ the `mean`,

    $$\ell_\mathrm{cosine} = 1 - \frac{1}{n} \sum_i \cos(P s_i,\ t_i - m), \qquad
      \ell_\mathrm{squared} = \frac{1}{n} \sum_i \lVert P s_i - (t_i - m) \rVert^2$$

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        matrix: The map $P$; no gradient flows into it. With orthonormal columns the student's own
            cosines and distances are those of the mapped rows.
        mean: What is subtracted from the teacher's rows; nothing by default.
        form: How rows are compared: `cosine`, whatever their lengths, or `squared`.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch. A
        student narrower than the teacher cannot reach zero: what of a row lies outside the columns
        of $P$ stays.

    Raises:
        ValueError: If the shapes do not go together or the form is unknown.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        >>> quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> anchored_loss(teacher @ quarter_turn, teacher, quarter_turn)
        tensor(0.)

    References:
        No paper's: the loss is the cosine (or L2) term of most embedding products, the fixed map
        ours (docs/methods/anchored.md). The map of the procrustes start is Schönemann's,
        Psychometrika 31(1), 1966.
    """
    check_choice("form", form, Form)
    check_rows("anchored_loss", student, teacher)
    widths = teacher.shape[1], student.shape[1]
    if matrix.shape != widths or (mean is not None and mean.shape != widths[:1]):
        raise ValueError(
            f"anchored_loss needs a matrix of shape {widths}, from the student's width to the "
            f"teacher's, and a mean of shape {widths[:1]}; got {tuple(matrix.shape)} and "
            f"{None if mean is None else tuple(mean.shape)}."
        )
    if len(student) == 0:
        return connected_zero(student)
    mapped = student @ matrix.detach().T
    target = teacher.detach() if mean is None else teacher.detach() - mean.detach()
    if form == "cosine":
        return 1 - (unit_rows(mapped) * unit_rows(target)).sum(1).mean()
    return (mapped - target).square().sum(1).mean()


class Anchored(Method):
    """Put each sample where the teacher has it, through a map fixed beforehand; no labels needed.

    The map is anchored, not the samples: RRKD's anchors are samples, and there coordinates stay
    free. Nothing of the map is trained, so nothing is thrown away with it: the student alone has
    the teacher's coordinates, turned, and `aligner()` turns them back.

    Attributes:
        map: The matrix $P$, `(teacher_dim, student_dim)`; part of the state dict.
        mean: What is subtracted from the teacher's rows; likewise.
        length: How long the teacher's rows are, less the mean, on average; likewise.
    """

    paper: ClassVar[str] = "Schönemann 1966 (the map), https://doi.org/10.1007/BF02289451"
    needs = frozenset({"sample"})

    map: Tensor
    mean: Tensor
    length: Tensor

    def __init__(
        self,
        *,
        start: Start = "procrustes",
        centre: bool = False,
        form: Form = "cosine",
        weight: float = 1.0,
    ) -> None:
        """Store the configuration.

        Args:
            start: Where the map comes from: `procrustes` turns the untrained student's rows onto
                the teacher's (for a student that starts from something, as static text students
                do), `pca` makes the student's columns the teacher's leading principal coordinates
                (for one that starts from noise), `random` looks at neither; `given` waits for
                `use_map`.
            centre: Whether the teacher's mean is subtracted from its rows: for teachers whose rows
                all point the same way, as after a ReLU. Index and queries must then be centred too.
            form: How rows are compared: `cosine`, or `squared`, which also teaches lengths.
            weight: Factor of the loss, beside the task loss's own.
        """
        super().__init__()
        check_finite("Anchored", weight=weight)
        check_choice("form", form, Form)
        check_choice("start", start, Start)
        self.start = start
        self.centre = centre
        self.form = form
        self.weight = weight

    def use_map(self, matrix: Tensor, *, mean: Tensor | None = None) -> None:
        """Fix a map of one's own, before `setup`; `start` becomes `given`.

        Args:
            matrix: The map $P$, shape `(teacher_dim, student_dim)`. It need not be orthonormal, but
                only then does the student itself have the teacher's geometry.
            mean: What is subtracted from the teacher's rows, shape `(teacher_dim,)`.

        Raises:
            ValueError: If it is no finite matrix, or the mean does not go with it.
            RuntimeError: If a map is fixed already.
        """
        if hasattr(self, "map"):
            raise RuntimeError("Anchored has its map already: make a new Anchored() for another.")
        mean = torch.zeros(len(matrix)) if mean is None else mean
        if matrix.ndim != 2 or mean.shape != matrix.shape[:1]:
            raise ValueError(
                "Anchored.use_map() takes a matrix (teacher_dim, student_dim) and a mean "
                f"(teacher_dim,); got {tuple(matrix.shape)} and {tuple(mean.shape)}."
            )
        if not (matrix.isfinite().all() and mean.isfinite().all()):
            raise ValueError("Anchored.use_map() takes finite numbers; some are NaN or infinite.")
        self.start = "given"
        self._keep(matrix.detach().float(), mean.detach().float(), 1.0)

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Fix the map. Call once.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Not used.
            sample: What both networks return for some training samples; without it the map is the
                random one, the same on every machine, and nothing is centred.

        Raises:
            RuntimeError: If it was called before.
            ValueError: If the start is `given` and no map was, or one for other widths.
        """
        if self.start == "given":
            if getattr(self, "map", torch.empty(0)).shape != (teacher_dim, student_dim):
                raise ValueError(
                    "Anchored(start='given') needs method.use_map(matrix) before setup, with a "
                    f"matrix of shape ({teacher_dim}, {student_dim})."
                )
            return
        if hasattr(self, "map"):
            raise RuntimeError("Anchored.setup() was called twice: make a new Anchored().")
        known = finite_rows(sample)
        matrix, mean = fixed_map(
            self.start,
            known,
            student_dim=student_dim,
            teacher_dim=teacher_dim,
            centre=self.centre,
            directions=self.form == "cosine",
        )
        length = 1.0 if known is None else (known[1] - mean).norm(dim=1).mean().item()
        self._keep(matrix, mean, length)

    def _keep(self, matrix: Tensor, mean: Tensor, length: float) -> None:
        self.register_buffer("map", matrix.clone())
        self.register_buffer("mean", mean.clone())
        self.register_buffer("length", torch.tensor(length if math.isfinite(length) else 1.0))

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the map and the mean; None before `setup`.

        The cosine form leaves the student's lengths free. With a mean, give its rows unit length
        first: the map then brings them to the teacher's mean length about that mean.
        """
        if not hasattr(self, "map"):
            return None
        scaled = self.form == "cosine" and bool(self.mean.any())
        return (self.map * self.length if scaled else self.map.clone()), self.mean.clone()

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"coordinates": loss}`."""
        if not hasattr(self, "map"):
            raise RuntimeError(
                "Anchored.forward() was called before Anchored.setup(): call method.setup("
                "student_dim=…, teacher_dim=…, sample=…) once, before building the optimiser."
            )
        loss = anchored_loss(
            student.embedding, teacher.embedding, self.map, mean=self.mean, form=self.form
        )
        return {"coordinates": self.weight * loss}
