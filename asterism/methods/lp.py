"""Learning Student Networks via Feature Embedding (Chen et al., 2018): locality preserving."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.inputs import check_finite, check_rows, connected_zero, full_precision
from asterism.types import Batch, Outputs


@full_precision
def lp_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    neighbours: int = 5,
    sigma: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Pull together in the student what are close neighbours in the teacher.

    $$\ell = \frac{1}{k} \sum_i \sum_{j \in N_k(t_i)}
      e^{-\lVert t_i - t_j \rVert^2 / \sigma^2} \, \lVert s_i - s_j \rVert^2$$

    with $N_k(t_i)$ the $k$ other samples of the batch nearest to sample $i$ in the teacher. It is
    a sum over the batch, and smallest for a collapsed student: use it beside another loss.

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        neighbours: How many neighbours $k$ of each sample, the earlier ones among equally near; all
            others of a smaller batch.
        sigma: Distance $\sigma$ in the teacher over which the pull fades.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 2 rows.

    Raises:
        ValueError: If the batches differ in length, or neighbours or sigma is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [0.0]])
        >>> lp_loss(student, teacher)  # 3² for each of the two
        tensor(18.)

    References:
        Chen, Wang, Xu, Xu and Tao, Learning Student Networks via Feature Embedding, 2018,
        https://arxiv.org/abs/1812.06597. Written from its form in the notebook of the RRKD paper
        (https://doi.org/10.1007/978-3-031-41630-9_14). That code drops the nearest of all samples
        as the sample itself, which among duplicates may be another; here it never is.
    """
    check_rows("lp_loss", student, teacher)
    _check_settings("lp_loss", neighbours, sigma)
    n = len(student)
    if n < 2:
        return connected_zero(student)
    k = min(neighbours, n - 1)
    teacher = teacher.detach()
    distance = torch.cdist(teacher, teacher, compute_mode="donot_use_mm_for_euclid_dist")
    # A stable sort, unlike topk, gives ties to the earlier sample, as the reference does.
    nearest, index = distance.fill_diagonal_(torch.inf).sort(dim=1, stable=True)
    pull = (-(nearest[:, :k] / sigma).square()).exp()
    square = (student[:, None] - student[index[:, :k]]).square().sum(2)
    return (pull * square).sum() / k


class LP(Method):
    """Pull close neighbours in the teacher together in the student; no labels needed."""

    paper: ClassVar[str] = "Chen et al. 2018, https://arxiv.org/abs/1812.06597"

    def __init__(self, *, neighbours: int = 5, sigma: float = 1.0, weight: float = 1.5) -> None:
        """Store the configuration.

        Args:
            neighbours: How many neighbours of each sample are pulled.
            sigma: Distance in the teacher over which the pull fades: choose it of the order of the
                distance between its neighbours, or the loss vanishes.
            weight: Factor of the loss, beside the task loss's own (notebook of the RRKD paper: 1.5
                for batches of 128). The loss grows with the batch.
        """
        super().__init__()
        check_finite("LP", weight=weight)
        _check_settings("LP", neighbours, sigma)
        self.neighbours = neighbours
        self.sigma = sigma
        self.weight = weight

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"locality": loss}`."""
        loss = lp_loss(
            student.embedding, teacher.embedding, neighbours=self.neighbours, sigma=self.sigma
        )
        return {"locality": self.weight * loss}


def _check_settings(name: str, neighbours: int, sigma: float) -> None:
    if neighbours < 1 or not sigma > 0:
        raise ValueError(
            f"{name} needs at least 1 neighbour and a positive sigma; got neighbours={neighbours} "
            f"and sigma={sigma}."
        )
