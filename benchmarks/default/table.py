"""The table of a task: means over seeds, and intervals of the recipe's difference to each rival."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Rows = dict[str, NDArray[Any]]
DRAWS = 1000


def ranks(values: NDArray[Any]) -> NDArray[Any]:
    """Return ranks; equal values share the mean of theirs."""
    found: NDArray[Any] = stats.rankdata(values)
    return found


def drawn(rows: Rows, order: dict[str, NDArray[Any]]) -> Rows:
    """Return rows in a drawn order; names before the point are drawn together."""
    return {name: values[order[name.partition(".")[0]]] for name, values in rows.items()}


def interval(
    ours: list[Rows], rivals: list[Rows], score: Callable[[Rows], float]
) -> tuple[float, float, float]:
    """Return the mean difference, half its 95 % interval over seeds and rows, and p.

    The variance is that between seeds over their number plus that of drawn rows, which both
    share; degrees of freedom after Satterthwaite, of the seeds' part alone.
    """
    gaps = np.array([score(a) - score(b) for a, b in zip(ours, rivals, strict=True)])
    draw = np.random.default_rng(0)
    sizes = {name.partition(".")[0]: len(values) for name, values in ours[0].items()}
    boot = []
    for _ in range(DRAWS):
        order = {name: draw.integers(0, n, n) for name, n in sizes.items()}
        pairs = zip(ours, rivals, strict=True)
        boot.append(np.mean([score(drawn(a, order)) - score(drawn(b, order)) for a, b in pairs]))
    between, within = gaps.var(ddof=1) / len(gaps), float(np.var(boot))
    spread = float(np.sqrt(between + within))
    freedom = (len(gaps) - 1) * ((between + within) / max(between, 1e-30)) ** 2
    p = 2 * float(stats.t.sf(abs(gaps.mean()) / spread, freedom))
    return float(gaps.mean()), float(stats.t.ppf(0.975, freedom)) * spread, p


def holm(values: dict[str, float]) -> dict[str, float]:
    """Return p values adjusted by Holm's step-down."""
    adjusted, worst = {}, 0.0
    for i, name in enumerate(sorted(values, key=values.__getitem__)):
        worst = max(worst, min(1.0, (len(values) - i) * values[name]))
        adjusted[name] = worst
    return adjusted


def table(out: Path, task: str, seeds: list[int]) -> str:
    """Return the table of a task's finished cells in Markdown."""
    figures = importlib.import_module(f"benchmarks.default.{task}").figures
    methods = sorted({file.stem.rpartition("_")[0] for file in out.glob("test_*.npz")})
    cells = {
        method: [
            out / f"{method}_{seed}" for seed in seeds if (out / f"{method}_{seed}.npz").exists()
        ]
        for method in methods
    }
    rows = {m: [dict(np.load(f"{c}.npz")) for c in cells[m]] for m in methods}
    found = {m: [json.loads(Path(f"{c}.json").read_text()) for c in cells[m]] for m in methods}
    names = [name for name in next(iter(found.values()))[0] if name not in ("seconds", "try")]
    differences = {
        m: interval(rows["test_recipe"][: len(rows[m])], rows[m], lambda r: figures(r)["score"])
        for m in methods
        if m != "test_recipe" and len(rows[m]) > 1
    }
    adjusted = holm({m: d[2] for m, d in differences.items()})
    lines = [
        f"| method | {' | '.join(names)} | core s | recipe − method | |",
        "|---" * (len(names) + 4) + "|",
    ]
    for file in sorted(out.glob("reference_*.json")):
        values = json.loads(file.read_text())
        cell = " | ".join(f"{100 * values[name]:.1f}" for name in names)
        lines.append(f"| {file.stem.removeprefix('reference_')} | {cell} | | | |")
    for m in sorted(methods, key=lambda m: -np.mean([f["score"] for f in found[m]])):
        parts = [_spread([100 * f[name] for f in found[m]]) for name in names]
        parts.append(f"{np.mean([f['seconds'] for f in found[m]]):.0f}")
        if m in differences:
            gap, half, _ = differences[m]
            word = "draw" if adjusted[m] > 0.05 else "won" if gap > 0 else "lost"
            parts += [f"{100 * gap:+.2f} ± {100 * half:.2f}", word]
        else:
            parts += ["", ""]
        lines.append(f"| {m.removeprefix('test_').replace('_', ' ')} | {' | '.join(parts)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"
