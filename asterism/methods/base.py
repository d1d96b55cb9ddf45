"""The base class of the methods."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from asterism.types import Batch, Outputs

# What a method may ask for beside embeddings.
NEEDS = frozenset({"logits", "target", "index", "anchors", "sample"})


class Method(nn.Module):
    """The objective of one paper: two networks' outputs in, named weighted terms out.

    A method knows no data, no models and no training loop. Its keyword-only constructor is its
    configuration and keeps each argument under its own name. State that must survive a restart
    (heads, banks) is in its `state_dict`.

    Attributes:
        paper: The source, for `asterism list` and the help.
        views: How many views of each sample it compares. With two, the rows given to `forward`
            are the first views of all samples, then their second views.
        needs: What else it needs: any of `logits`, `target`, `index`, `anchors` at each step, and
            `sample` once, in `setup`.
        anchors: For a method that needs anchors: how they are chosen.
        anchor_count: Likewise: how many.
        weight_grows: Whether the method itself lets its weights grow while it trains. Whoever
            measures the size of its terms at the start would take them for smaller than they are.
    """

    paper: ClassVar[str]
    views: int = 1
    needs: frozenset[str] = frozenset()
    anchors: str
    anchor_count: int
    weight_grows: bool = False

    def __call__(self, student: Any, teacher: Any, batch: Any = None) -> Any:
        """Call `forward`, if it is given what it takes.

        Raises:
            TypeError: If it is given bare tensors.
        """
        name = type(self).__name__
        for given in (student, teacher):
            if not isinstance(given, Outputs):
                raise TypeError(
                    f"{name} takes Outputs(embedding, logits) of the student and of the teacher, "
                    f"as a tensor alone does not say what it is; got {type(given).__name__}: write "
                    "asterism.Outputs(embedding), or Outputs(embedding, logits)."
                )
        if not isinstance(batch, Batch | None):
            raise TypeError(
                f"{name} takes an asterism.Batch beside both outputs, with what it needs, as "
                f"Batch(target=…) or Batch(index=…); got {type(batch).__name__}."
            )
        return super().__call__(student, teacher, batch)

    def config(self) -> dict[str, Any]:
        """Return the arguments of the constructor; each is kept under its own name.

        Raises:
            ValueError: If one is not.
        """
        if type(self).__init__ is nn.Module.__init__:
            return {}
        parameters = list(inspect.signature(type(self).__init__).parameters)[1:]
        if lost := [name for name in parameters if not hasattr(self, name)]:
            raise ValueError(
                f"{type(self).__name__} must keep each argument of its constructor under its own "
                f"name: self.{lost[0]} = {lost[0]}."
            )
        return {name: getattr(self, name) for name in parameters}

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make heads, banks and maps. Call once, before the optimiser is built.

        A method that leaves `sample` out of its `needs` is called without it and may leave it out
        here, too.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Number of samples in the training data, those held out for validation too, where
                it is known; each `batch.index` is below it.
            sample: What the untrained student and the teacher return, clean and in eval mode, for
                the same training samples, up to 4,000. None where nobody can tell: a method that
                needs it then starts from something sensible that does not depend on it.
        """

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the affine map of the student's embedding to the teacher's that the method fixes.

        With it a student's rows can be compared with stored rows of the teacher, without fitting
        anything afterwards: $W s + b$ stands where the teacher's row would.

        Returns:
            The weight $W$, `(teacher_dim, student_dim)`, and the bias $b$, `(teacher_dim,)`. None
            for a method that leaves the student's coordinates free, as relations do, and before
            `setup`.
        """
        return None

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name."""
        raise NotImplementedError


def listed(methods: Method | Sequence[Method]) -> list[Method]:
    """Return one method, or several, as a list."""
    return [methods] if isinstance(methods, Method) else list(methods)
