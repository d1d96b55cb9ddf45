"""What a user asked for: the one place where a training's options are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from asterism.names import all_as_text, as_text, is_own, located
from asterism.options import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OF_TEACHER,
    TRAINING,
    Group,
    Plain,
    Role,
    Verb,
    are_methods,
    fits,
    help_of,
    option,
    options_of,
    refuse_out_of_bounds,
    within_bounds,
)
from asterism.settings import Accelerator, Precision, Settings

if TYPE_CHECKING:
    from torch import nn

    from asterism.engine import Callback
    from asterism.methods.base import Method

    # A name, a module, or what makes one.
    Model = str | Path | nn.Module | Callable[..., nn.Module]
    Models = Model | Sequence[Model]
    Methods = Method | Sequence[Method] | None

OnBroken = Literal["skip", "stop"]
Recipe = Literal["fast", "balanced", "best"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A training as a user asked for it; each field knows what it means (`asterism.options`).

    Attributes:
        teacher: The teacher: a run folder, a built-in model with weights
            (resnet20?weights=FILE), another library's model (timm/…, torchvision/…, hf/…, st/…),
            path/to/file.py:factory, a module, a file of its outputs (docs/models.md), or a cache
            of them (docs/cache.md). Several (a list, or named again) teach their mean pattern.
        student: The student, named likewise; a run folder's goes on from its weights. For texts
            text-transformer or text-static.
        data: digits, a folder of pictures, an .npz or .npy file, a table or a text file, a data
            set of Hugging Face, or a Dataset (docs/data.md).
        method: One method or several, whose terms add up. By default chosen by what is
            known of teacher, student and data, and told (docs/choosing.md).
        recipe: What these methods may cost where none is named: fast, balanced (as usual) or best.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        validation_classes: Share of the classes kept for validation instead, whole, for data
            whose point is new classes: the best epoch is then that of the highest recall@1.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or else
            theirs, up to 224.
        labels: Use labels, where the data have them, for training and for model selection.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
        teacher_cache: Folder in which the teacher's outputs on the training views are computed
            before training, as far as they are not there yet, and kept for later runs (any
            student, method or seed, the same view seed).
        check: Look at data and networks before the training, and warn (docs/doctor.md).
        report: Write report.html, report.json and report.md into the run folder.
        baseline: Run folder of the same student trained without the teacher, to be measured
            beside this one.
        with_baselines: Train the student without the teacher first, in a folder beside this
            run's, if it is not there yet, and measure it beside this one.
        seeds: How many trainings, with seeds from the given one on, each in a folder of its own
            within the run folder, which then has the report on all: with several it speaks of the
            method, not of one student.
        export: Formats that the student is exported in at the end, tried before the first step
            (docs/export.md).
        callbacks: Called after each step, epoch and validation (`asterism.engine.Callback`).
        told: Whether another training of the same call has told of the same data.
        settings: How to train.
    """

    teacher: "Models | None" = option(
        None, Role.CONTENT, verbs=OF_TEACHER, is_name=True, grid=False, group=Group.WHAT, usual=True
    )
    student: "Model" = option("", is_name=True, grid=False, group=Group.WHAT, usual=True)
    data: Any = option(None, Role.CONTENT, is_name=True, group=Group.WHAT, usual=True)
    method: "Methods" = option(None, verbs=OF_TEACHER, filled_in=True, group=Group.WHAT, usual=True)
    recipe: Recipe | None = option(None, Role.CALL, verbs=OF_TEACHER, grid=False, group=Group.WHAT)
    out: str | Path | None = option(
        None, Role.HARMLESS, is_name=True, grid=False, group=Group.RUN, usual=True
    )
    resume: bool = option(False, Role.CALL, verbs=TRAINING, grid=False, group=Group.RUN, usual=True)
    overwrite: bool = option(
        False, Role.CALL, verbs=TRAINING, grid=False, group=Group.RUN, usual=True
    )
    validation_data: Any = option(None, Role.CONTENT, is_name=True, group=Group.DATA, usual=True)
    test_data: Any = option(None, Role.CONTENT, is_name=True, group=Group.DATA, usual=True)
    validation_share: float = option(0.1, bounds={"above": 0, "below": 1}, group=Group.DATA)
    validation_classes: float | None = option(
        None, bounds={"above": 0, "below": 1}, group=Group.DATA
    )
    split_seed: int = option(0, group=Group.DATA)
    image_size: int | None = option(None, bounds=AT_LEAST_ONE, filled_in=True, group=Group.DATA)
    labels: bool = option(True, verbs=OF_TEACHER, group=Group.DATA, usual=True)
    on_broken: OnBroken = option("skip", group=Group.DATA)
    teacher_cache: str | Path | None = option(
        None, Role.HARMLESS, verbs=OF_TEACHER, is_name=True, group=Group.DATA
    )
    check: bool = option(True, Role.HARMLESS, verbs=TRAINING, group=Group.RUN)
    report: bool = option(True, Role.CALL, verbs=("distill",), grid=False, group=Group.RUN)
    baseline: str | Path | None = option(
        None, Role.HARMLESS, verbs=("distill",), is_name=True, group=Group.RUN
    )
    with_baselines: bool = option(
        False, Role.CALL, verbs=("distill",), grid=False, group=Group.RUN, usual=True
    )
    seeds: int = option(
        1, Role.CALL, verbs=("distill",), bounds=AT_LEAST_ONE, grid=False, group=Group.RUN
    )
    export: tuple[str, ...] = option(
        (), Role.HARMLESS, verbs=TRAINING, grid=False, group=Group.RUN, usual=True
    )
    callbacks: "Sequence[Callback]" = ()
    told: bool = False
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is opened."""
        refuse_out_of_bounds(self)
        _locate(self)
        if self.resume and self.overwrite:
            raise ValueError("resume goes on with a run, overwrite replaces it: leave one out.")

    @property
    def verb(self) -> Verb:
        """Return `distill`, or `train` without a teacher."""
        return "train" if self.teacher is None else "distill"

    def plain(self) -> dict[str, Plain]:
        """Return all that a run keeps, as plain values, in the form that `--config` reads.

        Objects are kept by the name of their kind; methods by class and arguments.
        """
        config: dict[str, Plain] = {}
        for each in options_of(Request, verb=self.verb):
            value = getattr(self, each.name)
            if each.metadata["role"] is Role.CALL:
                continue
            if each.metadata["is_name"]:
                text = all_as_text if each.name == "teacher" else as_text
                value = None if value is None else text(value)
            config[typed_name(each.name, self.verb)] = _listed(value)
        if "method" in config:
            config["method"] = described(self.method)
        return {**config, **self.settings.plain()}


@dataclass(frozen=True, kw_only=True)
class CacheRequest:
    """A cache of a teacher's outputs as a user asked for it.

    Attributes:
        teacher: The teacher, named as for `distill`.
        data: The training data, named as for `distill`; all rows, those for validation too.
        out: Folder of the cache.
        validation_data: Validation data, if they are separate; their clean view is kept.
        test_data: Test data, likewise.
        image_size: Size to which pictures are brought; by default the teacher's own, or else
            theirs, up to 224.
        views: Augmented views of each training image, beside the clean one; a text and an array
            have the clean one alone.
        augment: What the views are: crop (shifts and flips), or vrm (these, and of each a virtual
            one by RandAugment, as VRM needs).
        view_seed: Seed of the views.
        padding: Largest shift of a view in pixels; by default an eighth of the image.
        randaugment_operations: Operations of RandAugment on each virtual view.
        randaugment_magnitude: Their strength, from 0 to 30.
        crop_area: Smallest and largest share of the picture, for random resized crops instead of
            shifts, as of a training.
        crop_ratio: Largest ratio of the sides of such a part.
        color_jitter: Strength, up to 1, of random changes of brightness, contrast and saturation.
        dtype: How outputs are kept: float16 or float32.
        precision: What the teacher computes in: 32, bf16 or 16 (mixed).
        batch_size: Samples that go through the teacher together.
        shard_rows: Rows of a file, what an interruption costs: 2,048, 16,384 above 10 million.
        processes: Processes that share the work, on a GPU each where there are several.
        workers: Processes that decode pictures; by default 0 for data in memory, else the cores.
        accelerator: Where the teacher runs.
        verify_cache: At the end read all, and compute so many rows (64) of each view again.
        part: `i/n`: the i-th of n parts of the files alone, for n machines that share no locks.
        finish: When all parts are there: read and check everything, and seal it.
    """

    teacher: "Model" = option("", Role.CONTENT, is_name=True, group=Group.WHAT, usual=True)
    data: Any = option(None, Role.CONTENT, is_name=True, group=Group.WHAT, usual=True)
    out: str | Path = option("", is_name=True, group=Group.RUN, usual=True)
    validation_data: Any = option(None, Role.CONTENT, is_name=True, group=Group.DATA, usual=True)
    test_data: Any = option(None, Role.CONTENT, is_name=True, group=Group.DATA, usual=True)
    image_size: int | None = option(None, bounds=AT_LEAST_ONE, group=Group.DATA, usual=True)
    views: int = option(8, bounds=AT_LEAST_ONE, group=Group.VIEWS, usual=True)
    augment: Literal["crop", "vrm"] = option("crop", group=Group.VIEWS, usual=True)
    view_seed: int = option(0, group=Group.VIEWS)
    padding: int | None = option(None, group=Group.VIEWS)
    randaugment_operations: int = option(2, group=Group.VIEWS)
    randaugment_magnitude: int = option(9, group=Group.VIEWS)
    crop_area: tuple[float, ...] = option((), group=Group.VIEWS)
    crop_ratio: float = option(4 / 3, bounds=AT_LEAST_ONE, group=Group.VIEWS)
    color_jitter: float = option(0.0, bounds={"at least": 0, "at most": 1}, group=Group.VIEWS)
    dtype: Literal["float16", "float32"] = option("float16", group=Group.MACHINE, usual=True)
    precision: Precision = option("32", group=Group.MACHINE)
    batch_size: int = option(256, bounds=AT_LEAST_ONE, group=Group.MACHINE, usual=True)
    shard_rows: int | None = option(None, bounds=AT_LEAST_ONE, group=Group.MACHINE)
    processes: int = option(1, bounds=AT_LEAST_ONE, group=Group.MACHINE, usual=True)
    workers: int | None = option(None, group=Group.MACHINE)
    accelerator: Accelerator = option("auto", group=Group.MACHINE)
    verify_cache: int = option(0, bounds=NOT_NEGATIVE, bare=64, group=Group.RECORDS)
    part: str = option("1/1", Role.CALL, group=Group.MACHINE)
    finish: bool = option(False, Role.CALL, group=Group.MACHINE)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is opened."""
        refuse_out_of_bounds(self)
        _locate(self)

    @property
    def settings(self) -> Settings:
        """Return the settings of a training with such views, on such a device."""
        return Settings(
            view_seed=self.view_seed,
            padding=self.padding,
            randaugment_operations=self.randaugment_operations,
            randaugment_magnitude=self.randaugment_magnitude,
            crop_area=self.crop_area,
            crop_ratio=self.crop_ratio,
            color_jitter=self.color_jitter,
            workers=self.workers,
            accelerator=self.accelerator,
        )


def _locate(request: Request | CacheRequest) -> None:
    """Let all that names a place come in at the one door (`located`)."""
    for each in (each for each in options_of(type(request)) if each.metadata["is_name"]):
        name = getattr(request, each.name)
        of_teacher = each.name == "teacher"
        names = name if of_teacher and isinstance(name, list | tuple) else (name,)
        # Data, teachers and caches may be on a store; a run is on this machine.
        stores = each.metadata["role"] is Role.CONTENT or isinstance(request, CacheRequest)
        several = of_teacher and names is not name
        try:
            found = [
                located(x, several=several, stores=stores) if isinstance(x, str | Path) else x
                for x in names
            ]
        except ValueError as error:
            raise ValueError(f"{each.name}: {error}") from error
        object.__setattr__(request, each.name, found if names is name else found[0])


def _listed(value: Any) -> Any:
    """Return a tuple as the list that YAML makes of it, and all else as it is."""
    return list(value) if isinstance(value, tuple) else value


def typed_name(name: str, verb: Verb) -> str:
    """Return what a verb calls an option: the student of `train` is its model."""
    return "model" if (name, verb) == ("student", "train") else name


def help_for(verb: Verb) -> dict[str, str]:
    """Return what is said of each option of a verb, by the name that the verb gives it."""
    said = {typed_name(name, verb): text for name, text in help_of(Request).items()}
    if verb == "train":
        said["model"] = (
            "The model: a built-in one (resnet20), another library's (timm/…), "
            "path/to/file.py:factory, or a run folder, to go on from its student."
        )
        said["data"] = f"The data, with labels: {said['data']}"
    return {**said, **help_of(Settings)}


def plain_defaults(verb: Verb) -> dict[str, Plain]:
    """Return the plain defaults of a verb's options: what a run has that is older than one."""
    defaults: dict[str, Any] = {
        typed_name(each.name, verb): _listed(each.default)
        for each in options_of(Request, verb=verb)
    }
    return {**defaults, **Settings().plain()}


def described(methods: "Methods") -> list[Plain]:
    """Return methods by class and arguments, in the form that `--config` reads."""
    if methods is None:
        return []
    given = list(methods) if isinstance(methods, Sequence) else [methods]
    return [{"class_path": _class_path(m), "init_args": m.config()} for m in given]


def _class_path(method: "Method") -> str:
    kind = type(method)
    return (
        f"{kind.__module__}.{kind.__qualname__}" if is_own(method) else f"asterism.{kind.__name__}"
    )


def as_typed(config: Mapping[str, Any], verb: Verb) -> dict[str, Any]:
    """Return the options of a verb in a plain request, as a user would type them."""
    known = {typed_name(each.name, verb) for each in options_of(Request, verb=verb)}
    known |= {each.name for each in options_of(Settings)}
    return {name: value for name, value in config.items() if name in known}


def understood(config: Mapping[str, Any], verb: Verb) -> dict[str, Plain]:
    """Return the options that a run folder says it was made with, each of its declared type.

    Nothing that it names is looked up; an option that is newer than the run has its default.

    Raises:
        ValueError: If one is of another type, or out of its bounds.
    """
    kept = {**plain_defaults(verb), **as_typed(config, verb)}
    places = {"Model": str, "Models": str, "Methods": Any, "Callback": Any, "Method": Any}
    for kind in (Request, Settings):
        types = get_type_hints(kind, localns=places)
        for each in options_of(kind, verb=verb):
            name, declared = typed_name(each.name, verb), types[each.name]
            if each.name == "method":
                fitting = are_methods(kept[name])
            elif each.metadata["is_name"]:
                fitting = fits(kept[name], str | None)
            else:
                fitting = fits(kept[name], declared)
            if not fitting or not within_bounds(kept[name], each):
                raise ValueError(f"{name} is {kept[name]!r}, which it cannot be")
    return kept
