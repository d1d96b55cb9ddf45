"""What a cache says of the teacher itself: what a student or a reader may ask besides outputs.

`tokenizer.json` and `tokens.safetensors` of a teacher of texts, and `teacher.json` of any. Caches
of earlier versions have none of them, and open without.
"""

import hashlib
import json
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from asterism.measures import Cost, cost, machine_of
from asterism.models import Vocabulary, in_words
from asterism.storage import Place, free_bytes, is_file, locked, read, write
from asterism.teachers.cache import Cache, open_shard, write_shard
from asterism.teachers.teacher import LiveTeacher, TeacherCard
from asterism.types import Samples
from asterism.words import number, tell

TOKENISER = "tokenizer.json"
TOKENS = "tokens.safetensors"
CARD = "teacher.json"
# The tables in it, and which question each answers.
TABLES = ("own", "alone")
# More than any `tokenizer.json` has, and any `teacher.json`.
MOST = {TOKENISER: 2**28, CARD: 2**24}
# Passes that a time is the median of.
REPEATS = 5


def keep_tokens(cache: Cache, teacher: LiveTeacher) -> None:
    """Write what the teacher knows of its tokens, unless it is there.

    Vectors are kept in float16 where that loses nothing, as of weights that were published in it,
    else in float32: a student begins beside the cache as it does beside the teacher, to the bit.

    Args:
        cache: The cache.
        teacher: The teacher, on the device where it runs.
    """
    vocabulary = teacher.vocabulary
    if vocabulary is None or vocabulary.tokeniser is None:
        return
    with locked(cache.folder / f".{TOKENS}.lock"):  # of others one waits for it
        if is_file(cache.folder / TOKENS) and is_file(cache.folder / TOKENISER):
            return
        tell(f"cache {cache.folder}: the vectors of the teacher's tokens …")
        made = {"own": vocabulary.own(), "alone": vocabulary.alone()}
        tables = {name: _short(table) for name, table in made.items() if table is not None}
        size = sum(table.nbytes for table in tables.values())
        free = free_bytes(cache.folder)
        if free is not None and size > free:
            raise ValueError(
                f"{cache.folder} needs {number(size, 'bytes')} for the vectors of the "
                "teacher's tokens: name a folder on another disk."
            )
        rows = max((len(table) for table in tables.values()), default=0)
        tell(f"… {number(size, 'bytes')} for {rows:,} tokens")
        write(cache.folder / TOKENISER, vocabulary.tokeniser.encode())
        write_shard(cache.folder / TOKENS, tables, _identity(cache, vocabulary.tokeniser))


def keep_card(cache: Cache, teacher: LiveTeacher, example: Samples) -> None:
    """Write what is known of the teacher and what running it costs, unless it is there.

    Args:
        cache: The cache.
        teacher: The teacher, on the device where it runs.
        example: Samples to take the time of, as models take them, where the teacher is.
    """
    if is_file(cache.folder / CARD):
        return
    card, measured = teacher.card, None
    try:
        measured = asdict(cost(teacher.network, example, repeats=REPEATS))
    except Exception as error:  # of any kind in a user's own module; the outputs are all there
        tell(f"what the teacher costs cannot be measured: {in_words(error)}")
    kept: dict[str, Any] = {"cost": measured, "measured_on": _machine()}
    kept |= {"names": card.names, "kinds": card.kinds, "parameters": card.parameters}
    write(cache.folder / CARD, (json.dumps(kept, indent=2) + "\n").encode())


def read_card(cache: Cache) -> TeacherCard:
    """Return what is known of the teacher; of an earlier version's cache, the widths.

    Times are left out where they were measured on another machine than this one.

    Raises:
        ValueError: If the file is damaged.
    """
    width, classes = cache.manifest.widths
    file = cache.folder / CARD
    if not is_file(file):
        return TeacherCard(width, classes)
    content = _read(file)
    try:
        kept = json.loads(content)
        names = None if kept["names"] is None else tuple(str(name) for name in kept["names"])
        kinds = tuple(str(kind) for kind in kept["kinds"])
        parameters = int(kept["parameters"])
        measured = kept["cost"] and _cost(kept["cost"], times=kept["measured_on"] == _machine())
        if names is not None and len(names) != classes:
            raise ValueError(f"it names {len(names)} classes of {classes}")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(file, error) from error
    return TeacherCard(width, classes, parameters, kinds, names, measured)


def read_vocabulary(cache: Cache) -> Vocabulary | None:
    """Return what the teacher knew of its tokens; None for a teacher of anything but texts.

    Raises:
        ValueError: If a file is damaged.
    """
    if cache.manifest.size is not None:
        return None
    tokens, tokeniser = cache.folder / TOKENS, cache.folder / TOKENISER
    if not is_file(tokens) or not is_file(tokeniser):
        why = f"{cache.folder} keeps nothing of the teacher's tokens: the same `asterism cache` "
        return Vocabulary(None, lambda: None, lambda: None, f"{why}adds it, if the teacher has any")
    text = _read(tokeniser)
    read = partial(_table, tokens, _identity(cache, text))
    return Vocabulary(text, partial(read, "own"), partial(read, "alone"))


def _identity(cache: Cache, tokeniser: str) -> dict[str, Any]:
    digest = hashlib.sha256(tokeniser.encode()).hexdigest()
    return {"cache": cache.key, "holds": "tokens", "tokeniser": digest}


def _table(file: Place, identity: dict[str, Any], name: str) -> Tensor | None:
    tables = open_shard(file, identity)
    layout = {table.ndim == 2 and table.is_floating_point() for table in tables.values()}
    if not set(tables) <= set(TABLES) or layout - {True}:
        raise ValueError(f"{file} is damaged: it holds other tables than those of tokens.")
    return tables[name].float() if name in tables else None


def _short(table: Tensor) -> Tensor:
    half = table.half()
    return half if torch.equal(half.float(), table) else table


def _cost(kept: dict[str, Any], *, times: bool) -> Cost:
    counts = [kept[name] for name in ("parameters", "bytes", "embedding_dim", "flops")]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a count is none")
    parameters, size, width, flops = counts
    latency = {int(n): float(ms) for n, ms in kept["latency_ms"].items()}
    # Caches of earlier versions have no spread.
    middle = {
        int(n): (float(low), float(high))
        for n, (low, high) in (kept.get("quartiles_ms") or {}).items()
    }
    taken = [*latency.items(), *((n, ms) for n, both in middle.items() for ms in both)]
    if not all(n > 0 and 0 < ms < float("inf") for n, ms in taken):
        raise ValueError("a time is none")
    passes, machine = int(kept.get("passes") or 0), str(kept.get("machine") or "")
    if not times:
        return Cost(parameters, size, width, {}, flops, machine=machine)
    return Cost(parameters, size, width, latency, flops, middle, passes, machine)


def _machine() -> str:
    """Return on what times are measured here."""
    return machine_of(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _read(file: Place) -> str:
    try:
        return read(file, MOST[file.name]).decode()
    except ValueError as error:
        raise _damaged(file, error) from error


def _damaged(file: Place, why: object) -> ValueError:
    way_out = "Delete it, and the same `asterism cache` writes it again."
    return ValueError(f"{file} is damaged: {why}. {way_out}")
