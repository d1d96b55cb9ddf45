"""Real queries in a teacher's index, with the student and with the teacher (docs/search.md).

    python benchmarks/queries.py DATA TEACHER OUT [--student text-static?width=256] [--epochs 10]

DATA holds `clinc150_train.tsv`, `clinc150_val.tsv`, `stsb_train.tsv` and `stsb_dev.tsv`; TEACHER is
a folder of a sentence-transformers model. The teacher embeds the training texts once
(`asterism cache`), the student learns from that without labels, `asterism align` fits its map, and
the training texts are indexed with the teacher's vectors. The queries are texts that nobody was
trained on: five of CLINC's and five of STS's validation rows, evenly spaced, and all of CLINC's for
the shares. Steps whose result is in OUT are not done again.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import asterism
from asterism.index import Index, build_index, open_index
from asterism.models import Spec, build
from asterism.models.tokens import by_length
from asterism.words import markdown

K = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher")
    parser.add_argument("out", type=Path)
    parser.add_argument("--student", default="text-static?width=256")
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    texts = asked.out / "texts.txt"
    trained = [row[0] for row in rows_of(asked.data / "clinc150_train.tsv")]
    trained += [s for row in rows_of(asked.data / "stsb_train.tsv") for s in row[5:7]]
    texts.write_text("\n".join(dict.fromkeys(trained)) + "\n", encoding="utf-8")
    cache, run, place = (asked.out / name for name in ("cache", "run", "index"))
    asterism.cache(f"st/{asked.teacher}", texts, out=cache, dtype="float32")
    if not (run / "result.json").exists():
        asterism.distill(cache, asked.student, texts, out=run, epochs=asked.epochs, overwrite=True)
        asterism.align(run)
    if not place.exists():
        build_index(cache, texts, out=place)
    student = asterism.load(run, aligned=True)
    teacher = build(f"st/{asked.teacher}", Spec(None, None, own_classifier=True)).eval()
    index = open_index(place)
    known = texts.read_text(encoding="utf-8").splitlines()
    validation = [row for row in rows_of(asked.data / "clinc150_val.tsv") if row[1] != "oos"]
    intent = {row[0]: row[1] for row in rows_of(asked.data / "clinc150_train.tsv")}
    sentences = [row[5] for row in rows_of(asked.data / "stsb_dev.tsv")]
    few = [row[0] for row in spaced(validation, 5)] + spaced(sentences, 5)
    print("| query | the teacher finds | the student finds | of ten |\n|---|---|---|---|")
    both_found = (searched(model, index, few)[0] for model in (teacher, student))
    for query, *found in zip(few, *both_found, strict=True):
        firsts = [markdown(known[int(index.ids[rows[0]])]) for rows in found]
        both = len({*found[0].tolist()} & {*found[1].tolist()})
        print(f"| {markdown(query)} | {firsts[0]} | {firsts[1]} | {both} |")
    queries = [row[0] for row in validation]
    kept, right, seconds = [], [], []
    for model in (teacher, student):
        positions, taken = searched(model, index, queries)
        kept.append(positions)
        seconds.append(taken)
        nearest = [intent.get(known[int(index.ids[p])]) for p in positions[:, 0]]
        right.append(np.mean([n == row[1] for n, row in zip(nearest, validation, strict=True)]))
    pairs = zip(*(positions.tolist() for positions in kept), strict=True)
    overlap = np.mean([len({*one} & {*other}) / K for one, other in pairs])
    print(
        f"\n{len(queries):,} queries, {len(index):,} rows: the nearest has the query's intent for "
        f"{100 * right[0]:.1f} % with the teacher and {100 * right[1]:.1f} % with the student; of "
        f"the teacher's ten the student finds {100 * overlap:.1f} %. Embedding a query takes "
        f"{1e3 * seconds[0] / len(queries):.2f} ms with the teacher, "
        f"{1e3 * seconds[1] / len(queries):.2f} ms with the student."
    )


def rows_of(file: Path) -> list[list[str]]:
    """Return the rows of a table without quotes, less its header."""
    with open(file, encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t") for line in lines][1:]


def spaced(rows: list, count: int) -> list:
    """Return some rows, evenly spaced."""
    return rows[:: len(rows) // count][:count]


@torch.no_grad()
def searched(model: torch.nn.Module, index: Index, texts: list[str]) -> tuple[np.ndarray, float]:
    """Return the rows that texts find, and the seconds that embedding them took."""
    begun = time.perf_counter()
    vectors = F.normalize(by_length(texts, model).embedding).numpy()
    taken = time.perf_counter() - begun
    return index.search(vectors, K, exact=True).positions, taken


if __name__ == "__main__":
    main()
