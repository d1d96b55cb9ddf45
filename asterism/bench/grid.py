"""A grid of methods, pairs of models and seeds over one data source, from its YAML file.

The teacher of a pair may be the student of an earlier one: generations.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asterism.documents import read_yaml
from asterism.names import file_name, located, nothing_at
from asterism.options import TRAINING, Verb, options_of
from asterism.request import Request, typed_name
from asterism.run import Run
from asterism.settings import Settings

# What makes a page, or a run beside a cell: the table has no place for them.
LEFT_OUT = ("report", "with_baselines")
# What a grid sets by itself, cell by cell.
ITS_OWN = {
    typed_name(each.name, verb)
    for verb in TRAINING
    for each in options_of(Request, Settings, verb=verb)
    if not each.metadata["grid"] and each.name not in LEFT_OUT
} | {"config"}
# Options of a probe; its seed and its student are the grid's own.
PROBE = ("data", "test_data", "test_share", "solver", "metric")
# Options that only distillation has; under `common` they do not concern plain training.
OF_DISTILL = {
    each.name for each in options_of(Request, Settings) if "train" not in each.metadata["verbs"]
}


@dataclass(frozen=True)
class Cell:
    """One training of the grid.

    Attributes:
        method: Name of the row.
        pair: Name of the column.
        seed: Seed.
        verb: `train` or `distill`.
        settings: The options of the verb.
        teacher: The cell whose student teaches; None for a teacher that is no cell.
    """

    method: str
    pair: str
    seed: int
    verb: Verb
    settings: dict[str, Any]
    teacher: "Cell | None" = None

    @property
    def run(self) -> Run:
        """Return the cell's run folder."""
        return Run(self.settings["out"])

    def __str__(self) -> str:
        """Name the cell as a reader of the file knows it."""
        return f"{self.pair}, {self.method}, seed {self.seed}"

    def finished(self) -> bool:
        """Return whether the cell has a result."""
        return self.run.finished()

    def probed(self, probe: str) -> Path:
        """Return the file of what `asterism probe` found of its student, beside its folder."""
        return self.run.path.with_name(f"{self.run.path.name}.{file_name(probe)}.json")


@dataclass(frozen=True)
class Grid:
    """What a bench file describes.

    Attributes:
        cells: All trainings, seed by seed, so that a first seed of everything is there early.
        methods: Names of the rows, in the order of the file.
        pairs: Names of the columns.
        probes: Options of `asterism probe` by name: other data that each student is probed on.
        paper: The paper's figure by pair and method, where the recipe is a paper's.
        out: The folder of all cells.
    """

    cells: tuple[Cell, ...]
    methods: tuple[str, ...]
    pairs: tuple[str, ...]
    probes: dict[str, dict[str, Any]]
    paper: dict[str, dict[str, float]]
    out: Path

    def dry(self, folder: Path, *, steps: int) -> "Grid":
        """Return the same grid in another folder, each cell stopped after so many steps.

        Its students are not probed.
        """
        cells: dict[str, Cell] = {}
        for cell in self.cells:  # a teacher stands before its students
            changes: dict[str, Any] = {"out": str(folder / cell.run.path.name)}
            changes["limit_steps"] = steps
            teacher = cell.teacher and cells[cell.teacher.settings["out"]]
            if teacher:
                changes["teacher"] = teacher.settings["out"]
            settings = {**cell.settings, **changes}
            cells[cell.settings["out"]] = replace(cell, settings=settings, teacher=teacher)
        return replace(self, cells=tuple(cells.values()), probes={}, out=folder)


def read_grid(file: Path) -> Grid:
    """Read a bench file (docs/bench.md).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not describe a grid; the message says where.
    """
    if not file.exists():
        raise FileNotFoundError(f"{nothing_at(file)}: name a bench file (docs/bench.md).")
    try:
        given = read_yaml(file)
    except ValueError as error:
        raise ValueError(f"{file} is no YAML of a grid: {error}.") from error
    known = {"out", "common", "pairs", "methods", "seeds", "probe", "paper"}
    if set(given) - known or not {"pairs", "methods"} <= set(given):
        raise ValueError(
            f"{file} must have `pairs` (name: {{teacher, student}}) and `methods` (name: options), "
            "and may have `common`, `seeds`, `out`, `probe` and `paper`; it has "
            f"{', '.join(given) or 'none of them'}."
        )
    try:
        return _grid(given, Path(located(str(given.get("out") or Path("runs") / file.stem))))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _grid(given: dict[str, Any], out: Path) -> Grid:
    common = _mapping(given.get("common") or {}, "common", "option: value")
    pairs = {
        pair: _mapping(models, f"pairs: {pair}", "teacher and student")
        for pair, models in _mapping(given["pairs"], "pairs", "name: {teacher, student}").items()
    }
    methods = {
        method: _mapping(options or {}, f"methods: {method}", "option: value")
        for method, options in _mapping(given["methods"], "methods", "name: options").items()
    }
    if not pairs or not methods:
        raise ValueError(f"`{'methods' if pairs else 'pairs'}` must name at least one.")
    distils = any("method" in options for options in methods.values())
    needed = ["teacher", "student"] if distils else ["student"]
    for pair, models in pairs.items():
        if not set(needed) <= set(models) <= {"teacher", "student"}:
            raise ValueError(
                f"the pair {pair!r} must name {' and '.join(needed)}; it has "
                f"{', '.join(models) or 'nothing'}."
            )
    _refuse_later_teachers(pairs)
    seeds = given.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        raise ValueError(f"`seeds` must be a list of whole numbers, [0, 1, 2] say; got {seeds!r}.")
    cells: dict[str, Cell] = {}
    for seed in seeds:
        for pair, models in pairs.items():
            for method, options in methods.items():
                cell = _cell(method, options, pair, models, seed, common, out)
                if isinstance(models.get("teacher"), dict) and cell.verb == "distill":
                    teacher = _named(cells, models["teacher"]["pair"], method, seed)
                    settings = {**cell.settings, "teacher": teacher.settings["out"]}
                    cell = replace(cell, settings=settings, teacher=teacher)
                other = cells.setdefault(cell.settings["out"], cell)
                if other is not cell:
                    raise ValueError(
                        f"{other} and {cell} would share the folder {cell.run.path}: names must "
                        "differ in letters or digits, and seeds from each other."
                    )
    paper = _mapping(given.get("paper") or {}, "paper", "pair: {method: figure}")
    for pair, figures in paper.items():
        figures = paper[pair] = _mapping(figures, f"paper: {pair}", "method: figure")
        unknown = [pair] if pair not in pairs else [name for name in figures if name not in methods]
        if unknown:
            raise ValueError(f"`paper` names {unknown[0]!r}, which is no pair or method here.")
    probes = _probes(given.get("probe") or {})
    return Grid(tuple(cells.values()), tuple(methods), tuple(pairs), probes, paper, out)


def typed(options: dict[str, Any]) -> list[str]:
    """Return the options of a probe as `asterism probe` reads them."""
    return [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]


def _refuse_later_teachers(pairs: dict[str, dict[str, Any]]) -> None:
    """Refuse teachers that are the students of no pair before their own."""
    for number, (pair, models) in enumerate(pairs.items()):
        teacher, earlier = models.get("teacher"), list(pairs)[:number]
        if not isinstance(teacher, dict):
            continue
        if set(teacher) != {"pair"} or str(teacher["pair"]) not in earlier:
            raise ValueError(
                f"the pair {pair!r} must name a model as its teacher, or {{pair: NAME}}, the "
                f"student of an earlier pair ({', '.join(earlier) or 'there is none'}); got "
                f"{teacher!r}."
            )


def _named(cells: dict[str, Cell], pair: Any, method: str, seed: int) -> Cell:
    sought = (str(pair), method, seed)
    return next(c for c in cells.values() if (c.pair, c.method, c.seed) == sought)


def _probes(given: Any) -> dict[str, dict[str, Any]]:
    """Return the options of each probe; data may stand alone."""
    probes = {}
    for name, asked in _mapping(given, "probe", "name: data").items():
        options = {"data": asked} if isinstance(asked, str) else asked
        options = _mapping(options, f"probe: {name}", "data, and options of `asterism probe`")
        if "data" not in options or set(options).difference(PROBE):
            raise ValueError(
                f"the probe {name!r} must name its `data`, and may have {', '.join(PROBE[1:])}; it "
                f"has {', '.join(options) or 'nothing'}."
            )
        probes[name] = options
    if len({file_name(name) for name in probes}) < len(probes):
        raise ValueError("names of probes must differ in letters or digits.")
    return probes


def _cell(
    method: str,
    options: dict[str, Any],
    pair: str,
    models: dict[str, Any],
    seed: int,
    common: dict[str, Any],
    out: Path,
) -> Cell:
    if "method" in options and not options["method"]:
        raise ValueError(
            f"{method!r} has an empty `method`: name one, or leave `method` out for plain training."
        )
    for name, value in (*common.items(), *options.items()):
        if name in ITS_OWN:
            raise ValueError(f"{name!r} is the grid's own to set, by `pairs`, `seeds` and `out`.")
        if name in LEFT_OUT and value:
            raise ValueError(
                f"{name!r} has no place in a grid: its cells make a table. `asterism report` makes "
                "a page of their folders, and a row without `method` is the baseline."
            )
        if "-" in name:
            raise ValueError(f"options in a file have underscores: {name.replace('-', '_')!r}.")
    folder = out / "_".join(map(file_name, (pair, method)))
    settings = {"seed": seed, "out": f"{folder}_{seed}"}
    if "method" in options:
        settings = {**common, **options, **settings, **models}
        return Cell(method, pair, seed, "distill", settings)
    plain = {name: value for name, value in common.items() if name not in OF_DISTILL}
    settings = {**plain, **options, **settings, "model": models["student"]}
    return Cell(method, pair, seed, "train", settings)


def _mapping(value: Any, where: str, form: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"`{where}` must be a mapping ({form}); got {value!r}.")
    return {str(name): entry for name, entry in value.items()}
