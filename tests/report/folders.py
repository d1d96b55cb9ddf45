"""Run folders for the tests of the report, with every file that a real run writes."""

import json

import numpy as np
import yaml

BASELINES = {"untrained": "better", "without teacher": "no different", "pca": "worse"}


def estimate(value, **more):
    return {"value": value, "low": value - 1.5, "high": value + 1.5, **more}


def measure(group, name, value, *, k=None, unit="%", better="higher", note=None, beside=True):
    baselines = {
        who: estimate(value - 2, verdict=verdict, difference=[0.5, 3.5])
        for who, verdict in BASELINES.items()
        if beside and group in ("task", "fidelity")
    }
    teacher = None if group == "fidelity" or not beside else estimate(value + 8)
    record = {"group": group, "name": name, "k": k, "unit": unit, "better": better, "note": note}
    return {**record, "student": estimate(value), "teacher": teacher, "baselines": baselines}


def result(names, *, beside=True, shift=0.0):
    cost = {"low": None, "high": None}
    measures = [
        measure("task", "accuracy", 82.6 + shift, beside=beside),
        measure("task", "recall", 75.1 + shift, k=1, beside=beside),
        measure("health", "anisotropy", 0.31, unit="", better="none", beside=beside),
        {
            "group": "cost", "name": "parameters", "k": None, "unit": "", "better": "lower",
            "student": {"value": 272474, **cost},
            "teacher": {"value": 853018, **cost} if beside else None, "baselines": {}, "note": None,
        },
    ]  # fmt: skip
    if beside:
        measures.insert(2, measure("fidelity", "neighbour overlap", 31.0 + shift, k=10))
        measures.append(
            measure("compatibility", "own item, as it is", 0.1, k=1, note="This is chance (0.1 %).")
        )
    classes = [
        {
            "class": name,
            "count": 40 + i,
            "student": 60.0 + i,
            "teacher": 90.0 - i if beside else None,
        }
        for i, name in enumerate(names)
    ]
    return {
        "headline": "The student keeps 91 % of the teacher's accuracy (82.6 of 90.6 %).",
        "split": "test", "rows": 5000, "measures": measures, "per_class": classes,
        "sampling": {"rows": 2000, "pairs": 5000, "triplets": 4000, "seed": 0,
                     "resamples": 1000, "confidence": 0.95},
        "seconds": 12.3, "steps": 100,
    }  # fmt: skip


def nearest(points, k=20):
    distances = ((points[:, None] - points[None]) ** 2).sum(2)
    np.fill_diagonal(distances, np.inf)
    return distances.argsort(1)[:, :k].astype(np.int32)


def evaluation(n, names, *, beside=True, labels=True, texts=None, side=16, seed=0):
    draw = np.random.default_rng(seed)
    target = draw.integers(0, len(names), n)
    centres = draw.normal(size=(len(names), 8)) * 3
    teacher = centres[target] + draw.normal(size=(n, 8))
    student = teacher[:, ::-1] + draw.normal(size=(n, 8)) * 0.8
    pairs = draw.integers(0, n, (2, 600))
    arrays = {
        "row": np.arange(n), "name": np.array([f"row {i}" for i in range(n)]),
        "student_embedding": student.astype(np.float16), "student_neighbours": nearest(student),
        "student_map": student[:, :2].astype(np.float32),
        "pair_distance_student": np.linalg.norm(
            student[pairs[0]] - student[pairs[1]], axis=1).astype(np.float32),
    }  # fmt: skip
    if beside:
        ours, theirs = nearest(student), nearest(teacher)
        shared = [
            [len(set(a[:k]) & set(b[:k])) / k for k in range(1, ours.shape[1] + 1)]
            for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)
        ]
        arrays |= {
            "teacher_embedding": teacher.astype(np.float16), "teacher_neighbours": theirs,
            "teacher_map": teacher[:, :2].astype(np.float32),
            "overlap": np.array(shared, np.float16),
            "pair_distance_teacher": np.linalg.norm(
                teacher[pairs[0]] - teacher[pairs[1]], axis=1).astype(np.float32),
        }  # fmt: skip
    if beside and labels and len(names) > 1:
        scores = draw.normal(size=(2, len(names), 40))
        for who, one in zip(("teacher", "student"), scores, strict=True):
            arrays[f"{who}_class_correlation"] = np.corrcoef(one).astype(np.float16)
    if labels:
        arrays |= {"target": target, "class_names": np.array(names)}
    if texts is not None:
        return {**arrays, "texts": np.array([texts[i % len(texts)] for i in range(n)])}
    colours = draw.integers(40, 220, (len(names), 1, 1, 3))
    noise = draw.integers(-30, 30, (n, side, side, 3))
    return {**arrays, "thumbnails": (colours[target] + noise).astype(np.uint8)}


def make_run(path, *, names=("cat", "dog", "frog"), n=60, beside=True, sampled=True, **options):
    """Write a run folder; options: `seed`, `shift`, `labels`, `texts`, `side`, `lr`."""
    path.mkdir(parents=True)
    seed = options.get("seed", 0)
    config = {
        "teacher": "runs/teacher", "student": "resnet20", "data": "digits",
        "method": [{"class_path": "asterism.RKD", "init_args": {"angle_weight": 50.0}}],
        "out": str(path), "lr": options.get("lr", 0.1), "seed": seed,
        "provenance": {"torch": "2.13.0"},
    }  # fmt: skip
    if not beside:
        config = {"model": "resnet20", "data": "digits", "out": str(path), "seed": seed}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [
        {"step": 10 * i, "epoch": i, "train/task": 2 / i, "train/rkd/angle": 1 / i, "lr": 0.1}
        | ({"validation/accuracy": 1 - 1 / i} if i % 2 else {})
        for i in range(1, 9)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    written = result(names, beside=beside, shift=options.get("shift", 0.0))
    if options.get("labels") is False:
        written["per_class"] = []
    (path / "result.json").write_text(json.dumps(written))
    if sampled:
        known = {k: v for k, v in options.items() if k in ("labels", "texts", "side", "seed")}
        np.savez(path / "evaluation.npz", **evaluation(n, names, beside=beside, **known))
    return path
