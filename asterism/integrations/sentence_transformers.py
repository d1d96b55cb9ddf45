"""`SentenceTransformerTrainer` with a teacher and methods."""

import inspect
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from torch import Tensor, nn

from asterism.data import Data, Source
from asterism.data.hub import open_object
from asterism.data.text import TextSource
from asterism.distributed import broadcast
from asterism.engine import Distillation
from asterism.integrations.transformers import AT_ONCE, FEW, SAMPLE, KeepsMethods, refuse_views
from asterism.methods.base import Method, listed
from asterism.models import evaluating
from asterism.teachers import Taught, open_teacher
from asterism.types import Outputs

# Columns that hold what is to be learnt, as the library's collator knows them.
LABELS = ("label", "labels", "score", "scores")


class MethodLoss(nn.Module):
    """Methods as a loss of sentence-transformers: the teacher's relations among a batch's texts.

    The teacher's embeddings are the column `label` of the data, which `with_teacher` makes of a
    SentenceTransformer, a run, a cache or a file of vectors. With `teacher` it is run on each batch
    instead, if it has the student's tokens.

    Requirements:
        1. For one column of texts labels `(teacher_dim,)`; for several `(columns, teacher_dim)`, or
           `(teacher_dim,)` where all of them mean the same, as translations do.
        2. `DistillTrainer` of this module in place of SentenceTransformerTrainer, if checkpoints
           are to hold heads and banks.

    All columns of a batch are one set of samples. The heads' gradient is the same on every rank,
    since all of them see all rows. The student's prompts are the trainer's, `args.prompts`; the
    teacher's are those its labels were made with.

    Methods that compare classes' scores (KD, VRM, DIST, …), remember samples by number (CRD), or
    have fixed anchors are refused: the library's losses get neither scores, numbers nor anchors.

    Relations to others:
        `EmbedDistillLoss` and `MSELoss` bring each embedding to the teacher's; `Pointwise`,
        `Anchored` and `VkD` do so here, and `Anchored` starts at the least-squares map. RKD, RRD
        and others leave the coordinates free. It adds to other losses in a module of your own.

    Attributes:
        distillation: The methods, set up.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        methods: Method | Sequence[Method],
        data: Any,
        *,
        teacher: SentenceTransformer | None = None,
        gather_across_devices: bool = True,
    ) -> None:
        """Look at the first training samples, and set the methods up.

        Args:
            model: The student.
            methods: One method or several.
            data: The training data, a `datasets.Dataset`; prompts are not used to look at them.
            teacher: A teacher with the student's tokens; None where `label` is what it made.
            gather_across_devices: Whether methods see the samples of all ranks.

        Raises:
            ValueError: If the data have no teacher, or a method needs what is not there.
        """
        super().__init__()
        chosen = listed(methods)
        refuse_views(chosen, "SentenceTransformerTrainer")
        for method in chosen:
            if missing := method.needs & {"logits", "index", "target"}:
                raise ValueError(
                    f"{type(method).__name__} needs {' and '.join(sorted(missing))}, and losses of "
                    "sentence-transformers get embeddings alone: take RKD, RRD or Anchored, or "
                    "`asterism distill`, which has them."
                )
        self.model = model
        self._teacher = [] if teacher is None else [teacher.eval().requires_grad_(False)]
        if teacher is not None:
            _refuse_other_tokens(model, teacher)
        example = self._example(data, SAMPLE if any("sample" in m.needs for m in chosen) else FEW)
        rows = len(data) if hasattr(data, "__len__") else None
        self.distillation = Distillation(
            None, None, chosen, example=example, rows=rows, local=not gather_across_devices
        )
        self._methods = tuple(chosen)
        self._met = False

    def forward(
        self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the weighted terms by name, which the trainer adds up and logs.

        Args:
            sentence_features: A batch of each column.
            labels: The teacher's embeddings, `(n, teacher_dim)` or `(n, columns, teacher_dim)`.

        Raises:
            ValueError: If there is no teacher, or its embeddings are not of these columns.
        """
        columns = list(sentence_features)
        student = [self.model(dict(column))["sentence_embedding"] for column in columns]
        taught = self._taught(columns, labels, student[0].device)
        if not self._met:  # heads are made before the ranks meet
            broadcast(self.distillation)
            self._met = True
        self.distillation.train(self.model.training)
        self.distillation.objective.train_views = len(columns)
        return self.distillation(  # type: ignore[no-any-return]
            student=Outputs(torch.cat(student)), teacher=Outputs(torch.cat(taught))
        )

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the first method's map of the student's embedding to the teacher's, if any."""
        maps = (method.aligner() for method in self._methods)
        return next((found for found in maps if found is not None), None)

    @property
    def citation(self) -> str:
        """Return the papers of the methods, for the model's card."""
        return "\n".join(dict.fromkeys(map(cited, self._methods)))

    def get_config_dict(self) -> dict[str, Any]:
        """Return the methods with what was set of them, for the model's card."""
        methods = {type(m).__name__: m.config() for m in self._methods}
        return {"methods": methods, "gather_across_devices": not self.distillation.objective.local}

    def _taught(
        self, columns: Sequence[dict[str, Any]], labels: Tensor | None, device: torch.device
    ) -> list[Tensor]:
        if self._teacher:
            with torch.no_grad():
                network = self._teacher[0].to(device)
                return [network(dict(column))["sentence_embedding"] for column in columns]
        if labels is None or not labels.is_floating_point() or labels.ndim not in (2, 3):
            got = "nothing" if labels is None else f"{labels.dtype} of shape {tuple(labels.shape)}"
            raise ValueError(
                "the label of each sample must be the teacher's embedding (with_teacher adds it); "
                f"got {got}."
            )
        if labels.ndim == 2:
            return [labels] * len(columns)
        if labels.shape[1] != len(columns):
            raise ValueError(
                f"the teacher's embeddings must be of each of {len(columns)} columns of texts; got "
                f"those of {labels.shape[1]}."
            )
        return list(labels.unbind(1))

    @torch.no_grad()
    def _example(self, data: Any, count: int) -> tuple[Outputs, Outputs]:
        """Return what both networks make of the first training samples."""
        rows = list(itertools.islice(iter(data), count))
        if not rows:
            raise ValueError("there is no training data to learn widths from.")
        label = next((name for name in LABELS if name in rows[0]), None)
        names = [name for name in rows[0] if name not in (label, "dataset_name")]
        labels = None if label is None else torch.tensor([row[label] for row in rows])
        student, teacher = [], []
        with evaluating(self.model):
            for begin in range(0, len(rows), AT_ONCE):
                some = rows[begin : begin + AT_ONCE]
                columns = [
                    _moved(self.model.preprocess([row[n] for row in some]), self.model.device)
                    for n in names
                ]
                known = None if labels is None else labels[begin : begin + AT_ONCE]
                teacher += self._taught(columns, known, self.model.device)
                student += [self.model(dict(column))["sentence_embedding"] for column in columns]
        return Outputs(torch.cat(student).cpu()), Outputs(torch.cat(teacher).cpu())


class DistillTrainer(KeepsMethods, SentenceTransformerTrainer):
    """SentenceTransformerTrainer whose checkpoints hold heads and banks, too.

    They lie in `methods.safetensors` in each checkpoint and in what `save_model` writes. Of a
    dictionary of losses all are kept.
    """

    loss: Any

    def kept(self) -> nn.Module:
        """Return the loss, or the losses by name."""
        return nn.ModuleDict(self.loss) if isinstance(self.loss, dict) else self.loss


def with_teacher(
    data: Any,
    teacher: Any,
    *,
    columns: Sequence[str] | None = None,
    prompts: Mapping[str, str] | str | None = None,
) -> Any:
    """Return data with the teacher's embeddings as the column `label`.

    Args:
        data: A `datasets.Dataset`.
        teacher: A SentenceTransformer, or what `asterism distill --teacher` takes: a run folder, a
            cache, a file of vectors (of one column: a row for each sample), `st/NAME`.
        columns: The columns of texts; by default all but labels.
        prompts: For a SentenceTransformer: what stands before each text, or before those of each
            column; by default its own default prompt.

    Raises:
        ValueError: If there are no texts, or the teacher does not fit them.
    """
    names = list(columns or [name for name in data.column_names if name not in LABELS])
    if not names or not set(names) <= set(data.column_names):
        raise ValueError(
            f"columns of texts must be of the data's; got {names} of {data.column_names}."
        )
    vectors = [_embedded(data, name, teacher, prompts) for name in names]
    label = vectors[0] if len(vectors) == 1 else torch.stack(vectors, 1)
    left = [name for name in LABELS if name in data.column_names]
    column = pyarrow.array(label.flatten().numpy())
    for width in reversed(label.shape[1:]):
        column = pyarrow.FixedSizeListArray.from_arrays(column, width)
    return data.remove_columns(left).add_column("label", column)


def _embedded(
    data: Any, name: str, teacher: Any, prompts: Mapping[str, str] | str | None
) -> Tensor:
    """Return the teacher's embeddings of a column, float32 on the CPU."""
    texts = list(data[name])
    prompt = prompts.get(name) if isinstance(prompts, Mapping) else prompts
    if isinstance(teacher, SentenceTransformer):
        found: Tensor = torch.from_numpy(
            teacher.encode(texts, prompt=prompt, show_progress_bar=False)
        )
        return found.float()
    if prompt is not None:
        raise ValueError("prompts are a SentenceTransformer's; name others' as st/NAME?prompt=….")
    every = torch.arange(len(texts))
    taught = _taught_on(data, name, texts, teacher)
    parts = [
        taught.clean(rows, [texts[row] for row in rows.tolist()]).embedding
        for rows in torch.split(every, AT_ONCE)
    ]
    return torch.cat(parts).float()


def _taught_on(data: Any, name: str, texts: list[str], teacher: Any) -> Taught:
    """Return a teacher's outputs on a column, known by ids and labels, or else by texts alone."""
    try:
        source: Source = open_object(data, {"text": name})
        every = torch.arange(len(source))
        return open_teacher(teacher, Data(source, every, every[:0])).on(source)
    except ValueError:  # of a cache that was made without labels, or labels that are none
        source = TextSource(texts)
        every = torch.arange(len(source))
        return open_teacher(teacher, Data(source, every, every[:0])).on(source)


def cited(method: Method) -> str:
    """Return a method's paper as BibTeX: what its file says of it, and where it is."""
    name = type(method).__name__
    where = method.paper.split(", ")[-1]
    what = (inspect.getdoc(sys.modules[type(method).__module__]) or name).split("\n")[0]
    lines = [f"    note = {{{what.rstrip('.')}; {method.paper.removesuffix(where).rstrip(', ')}}},"]
    lines += [f"    url = {{{where}}},"] if where.startswith("http") else []
    return "\n".join([f"@misc{{asterism-{name.lower()},", *lines, "}"])


def _refuse_other_tokens(student: SentenceTransformer, teacher: SentenceTransformer) -> None:
    known: list[dict[str, int]] = [
        getattr(model.tokenizer, "get_vocab", dict)() for model in (student, teacher)
    ]
    if not known[0] or known[0] != known[1]:
        raise ValueError(
            "a teacher that is run on the student's tokens must have the same ones: add what it "
            "makes of the texts instead, data = with_teacher(data, teacher)."
        )


def _moved(features: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}
