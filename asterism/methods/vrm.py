"""VRM: Knowledge Distillation via Virtual Relation Matching (Zhang et al., ICCV 2025)."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.edges import ClassEdges, Form, SampleEdges, ends_of, mean_edge_gap
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_views,
    connected_zero,
    full_precision,
    split_views,
)
from asterism.relations.predictions import Criterion, Vertices, reliable_pairs, vertices_of
from asterism.types import Batch, Outputs


@full_precision
def vrm_inter_sample_loss(
    student: Float[Tensor, "n c"],
    student_virtual: Float[Tensor, "n c"],
    teacher: Float[Tensor, "n c"],
    teacher_virtual: Float[Tensor, "n c"],
    *,
    edges: SampleEdges = "real-virtual",
    form: Form = "huber",
    vertices: Vertices = "logits",
    criterion: Criterion = "cross_entropy",
    keep_quantile: float | None = None,
    keep_below: float | None = None,
    keep_below_teacher: bool = False,
) -> Float[Tensor, ""]:
    r"""Match the directions between samples, across a real and a virtual view of each.

    The edge from sample $i$ of the real view to sample $j$ of the virtual one is a unit vector,

    $$e_{ij} = \frac{z_i - \tilde z_j}{\lVert z_i - \tilde z_j \rVert}, \qquad
      \ell = \operatorname*{mean}_{(i, j)\ \mathrm{kept}} h(e^s_{ij} - e^t_{ij}),$$

    or zero where both coincide. $h$ is the mean Huber function of the components, or the squared
    norm, which is 2c times that while no component exceeds 1. Memory grows as $n^2 + nc$.
    An edge is kept if the joint uncertainty of the predictions at its ends, from raw logits and
    without a gradient, passes all the `keep_…` rules given.

    Args:
        student: Logits of the student on the real view.
        student_virtual: Logits of the student on the virtual view of the same samples.
        teacher: Logits of the teacher on the real view; no gradient flows into them.
        teacher_virtual: Logits of the teacher on the virtual view; likewise.
        edges: `real-virtual`, all n² pairs, a sample and itself included; or all ordered pairs of
            different rows in one view (`real-real`, `virtual-virtual`) or in both (`full`).
        form: `huber`, with threshold 1; `squared`, the mean over edges of the squared norm; or
            `clipped`, the mean over edges and components of the squares up to 1, others as 0.
        vertices: What edges connect: `logits`, their `zscore` over the classes, or `softmax`.
        criterion: The uncertainty: `cross_entropy` of the end's prediction under the start's,
            `mixture` (entropy of the two predictions' mean) or `sum` (of their entropies).
        keep_quantile: Keep edges up to this quantile of the student's uncertainty in the batch.
        keep_below: Keep edges up to this uncertainty of the student, in nats.
        keep_below_teacher: Keep edges no more uncertain in the student than in the teacher.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits); zero for fewer than 2 samples
        or classes, and if no edge is kept.

    Raises:
        ValueError: If the shapes differ, or for an unknown option.

    Examples:
        >>> import torch
        >>> real, virtual = torch.eye(3), 2 * torch.eye(3)
        >>> vrm_inter_sample_loss(real, virtual, 5 * real + 1, 5 * virtual + 1)  # directions only
        tensor(0.)

    References:
        Zhang et al., VRM: Knowledge Distillation via Virtual Relation Matching, ICCV 2025,
        https://arxiv.org/abs/2502.20760. Without the authors' code, the criterion, its threshold
        and the reduction are readings (see docs/methods/vrm.md).
    """
    views = (student, student_virtual, teacher.detach(), teacher_virtual.detach())
    check_views("vrm_inter_sample_loss", *views)
    check_choice("edges", edges, SampleEdges)
    if min(student.shape) < 2:
        return connected_zero(student) + connected_zero(student_virtual)
    ends_s, ends_t = ends_of(edges, *views[:2]), ends_of(edges, *views[2:])
    within = edges != "real-virtual"
    keep = reliable_pairs(
        ends_s,
        ends_t,
        criterion=criterion,
        within=within,
        keep_quantile=keep_quantile,
        keep_below=keep_below,
        keep_below_teacher=keep_below_teacher,
    )
    ends = (vertices_of(logits, vertices) for logits in (*ends_s, *ends_t))
    return mean_edge_gap(*ends, form=form, within=within, keep=keep)


@full_precision
def vrm_inter_class_loss(
    student: Float[Tensor, "n c"],
    student_virtual: Float[Tensor, "n c"],
    teacher: Float[Tensor, "n c"],
    teacher_virtual: Float[Tensor, "n c"],
    *,
    edges: ClassEdges = "concatenated",
    form: Form = "huber",
    vertices: Vertices = "logits",
) -> Float[Tensor, ""]:
    r"""Match the directions between classes, each the vector $w_a$ of its logits over both views.

    $$e_{ab} = \frac{w_a - w_b}{\lVert w_a - w_b \rVert}, \qquad
      \ell = \operatorname*{mean}_{a \ne b} h(e^s_{ab} - e^t_{ab})$$

    and $h$ as in `vrm_inter_sample_loss`, here over 2n components. Memory grows as $nc$.

    Args:
        student: Logits of the student on the real view.
        student_virtual: Logits of the student on the virtual view of the same samples.
        teacher: Logits of the teacher on the real view; no gradient flows into them.
        teacher_virtual: Logits of the teacher on the virtual view; likewise.
        edges: `concatenated`, pairs of classes over both views; `real`, over the real view alone;
            or `real-virtual`, all c² pairs of a class in the real and a class in the virtual view.
        form: `huber`, `squared` or `clipped`, as in `vrm_inter_sample_loss`.
        vertices: `logits`, `zscore` or `softmax`, taken over the classes of each sample.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits); zero for fewer than 2 samples
        or classes.

    Raises:
        ValueError: If the shapes differ, or for an unknown option.

    Examples:
        >>> import torch
        >>> real, virtual = torch.eye(3), 2 * torch.eye(3)
        >>> vrm_inter_class_loss(real, virtual, 5 * real, 5 * virtual) < 1e-9  # directions only
        tensor(True)

    References:
        Zhang et al., ICCV 2025, https://arxiv.org/abs/2502.20760; see `vrm_inter_sample_loss`.
    """
    views = (student, student_virtual, teacher.detach(), teacher_virtual.detach())
    check_views("vrm_inter_class_loss", *views)
    check_choice("edges", edges, ClassEdges)
    if min(student.shape) < 2:
        return connected_zero(student) + connected_zero(student_virtual)
    columns = [vertices_of(view, vertices).T for view in views]
    ends_s, ends_t = ends_of(edges, *columns[:2]), ends_of(edges, *columns[2:])
    return mean_edge_gap(*ends_s, *ends_t, form=form, within=edges != "real-virtual")


class VRM(Method):
    """Match directions between samples and between classes, of a real and a RandAugment view."""

    paper: ClassVar[str] = "Zhang et al., ICCV 2025, https://arxiv.org/abs/2502.20760"
    needs = frozenset({"logits"})
    calls: Tensor

    def __init__(
        self,
        *,
        inter_sample_weight: float = 32.0,
        inter_class_weight: float = 8.0,
        form: Form = "squared",
        vertices: Vertices = "logits",
        sample_edges: SampleEdges = "real-virtual",
        class_edges: ClassEdges = "concatenated",
        criterion: Criterion = "cross_entropy",
        keep_quantile: float | None = 0.9,
        keep_below: float | None = None,
        keep_below_teacher: bool = False,
        virtual_views: int = 1,
        ramp_steps: int = 0,
    ) -> None:
        """Store the configuration.

        Args:
            inter_sample_weight: Factor of the inter-sample term. With `squared` one value served
                10 and 100 classes; multiply it by 2c for `huber`, by c for `clipped`.
            inter_class_weight: Factor of the inter-class term; multiply it by 4n for `huber`, by
                2n for `clipped`, n samples in a batch. A term of weight 0 is not computed.
            form: How two edges are compared: `squared`, `huber` or `clipped`.
            vertices: What edges connect: `logits`, their `zscore` over the classes (which is logit
                standardisation, as KD's `standardise`), or `softmax`.
            sample_edges: `real-virtual`, `real-real`, `virtual-virtual` or `full`.
            class_edges: `concatenated`, `real` or `real-virtual`.
            criterion: Uncertainty of a sample edge: `cross_entropy`, `mixture` or `sum`.
            keep_quantile: Share of the sample edges to keep, the least uncertain; None for all.
            keep_below: Largest uncertainty of a sample edge, in nats; None for no limit.
            keep_below_teacher: Whether to drop sample edges less certain than the teacher's.
            virtual_views: Number of virtual views; the losses with each of them are averaged.
            ramp_steps: Training steps over which both relation weights grow linearly; 0 for none.
        """
        super().__init__()
        for name, value, choices in (
            ("form", form, Form),
            ("vertices", vertices, Vertices),
            ("sample_edges", sample_edges, SampleEdges),
            ("class_edges", class_edges, ClassEdges),
            ("criterion", criterion, Criterion),
        ):
            check_choice(name, value, choices)
        check_finite(
            "VRM", inter_sample_weight=inter_sample_weight, inter_class_weight=inter_class_weight
        )
        kept = 0 <= (keep_quantile or 0) <= 1 and (keep_below or 0) >= 0
        if virtual_views < 1 or ramp_steps < 0 or not kept:
            raise ValueError(
                "VRM needs at least 1 virtual view, a keep_quantile from 0 to 1, the share of the "
                "edges to keep, or None, and no negative keep_below or ramp_steps; got "
                f"{virtual_views=}, {keep_quantile=}, {keep_below=} and {ramp_steps=}."
            )
        self.views = 1 + virtual_views
        self.weight_grows = ramp_steps > 0
        self.inter_sample_weight, self.inter_class_weight = inter_sample_weight, inter_class_weight
        self.form = form
        self.vertices = vertices
        self.ramp_steps = ramp_steps
        self.sample_edges, self.class_edges = sample_edges, class_edges
        self.criterion = criterion
        self.keep_quantile = keep_quantile
        self.keep_below = keep_below
        self.keep_below_teacher = keep_below_teacher
        self.virtual_views = virtual_views
        if ramp_steps:
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"inter_sample": …, "inter_class": …}`, without the terms of weight 0."""
        n = None if batch is None else batch.size
        views = (split_views("VRM", x.logits, self.views, samples=n) for x in (student, teacher))
        ramp: float | Tensor = 1.0
        if self.ramp_steps:
            self.calls += int(self.training)
            ramp = (self.calls / self.ramp_steps).clamp(max=1)
        real, *virtual = zip(*views, strict=True)
        pairs = [(real[0], s, real[1], t) for s, t in virtual]
        both: dict[str, Any] = {"form": self.form, "vertices": self.vertices}
        terms = {}
        if self.inter_sample_weight:
            how = both | {
                "edges": self.sample_edges,
                "criterion": self.criterion,
                "keep_quantile": self.keep_quantile,
                "keep_below": self.keep_below,
                "keep_below_teacher": self.keep_below_teacher,
            }
            each = [vrm_inter_sample_loss(*views, **how) for views in pairs]
            terms["inter_sample"] = self.inter_sample_weight * ramp * torch.stack(each).mean()
        if self.inter_class_weight:
            how = both | {"edges": self.class_edges}
            each = [vrm_inter_class_loss(*views, **how) for views in pairs]
            terms["inter_class"] = self.inter_class_weight * ramp * torch.stack(each).mean()
        return terms
