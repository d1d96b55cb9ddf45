"""A student without torch: what `asterism export --to onnx` wrote, on numpy and onnxruntime.

    import asterism.runtime

    model = asterism.runtime.load("exported/onnx")
    vectors = model.embed(["a.jpg", "b.png"])  # a float32 array (2, d)
    names = [name for name, probability in model.predict("a.jpg")]

Samples are read by the code that reads those of a training, so that the model sees the same pixels
and the same tokens. Nothing in an exported folder is run or unpickled.
"""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asterism import reading
from asterism.documents import parse_json, read_file
from asterism.names import located, nothing_at
from asterism.predictions import Predictions
from asterism.words import readable

Floats = npt.NDArray[np.float32]
Inputs = dict[str, npt.NDArray[Any]]
# Where a model is, from what a user names: the file, an export, a folder of exports, a run.
PLACES = ("", "model.onnx", "onnx/model.onnx", "export/onnx/model.onnx")
# Samples that are computed together, and numbers that one may have.
BATCH, LARGEST = 64, 2**28
# Older releases read weights from wherever a model says that they are.
OLDEST = (1, 24)


@dataclass(frozen=True)
class Contents:
    """What an exported model says of itself.

    Attributes:
        kind: What it takes: `image`, `text` or `array`.
        shape: Size of a sample; None for texts.
        classes: Names of the classes in the order of the scores, or None.
        prompt: What stands before each text.
        uint8: Whether images go in as bytes.
        space: Whose space the embeddings are in, `the student's` or `the teacher's`.
    """

    kind: str
    shape: tuple[int, ...] | None = None
    classes: tuple[str, ...] | None = None
    prompt: str = ""
    uint8: bool = False
    space: str = "the student's"


class Model:
    """An exported student, on the processor.

    Attributes:
        contents: What it says of itself: kind, shape, classes.
        width: Columns of the embedding.
    """

    def __init__(self, session: Any, contents: Contents, tokenizer: Any = None) -> None:
        """Join onnxruntime's session, what the model says of itself, and its tokeniser."""
        self.contents = contents
        self._session = session
        self._tokenizer = tokenizer
        self._widths = {each.name: int(each.shape[1]) for each in session.get_outputs()}
        self.width = self._widths["embedding"]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Return the names of the classes in the order of the scores; None without any."""
        return self.contents.classes

    def embed(self, given: Any) -> Floats:
        """Return the embeddings of samples, float32 `(n, d)`, in their order.

        Args:
            given: One sample or several, as `asterism.load(run).embed` takes them: texts; paths of
                pictures, contents of such files, Pillow's pictures or uint8 arrays `(h, w,
                channels)`; float pixels in [0, 1] of the model's own size, channels first or last
                (rounded to 255ths by a model that takes bytes); or arrays of the model's shape.

        Raises:
            ValueError: If something among it is no sample; the message names it.
            FileNotFoundError: If there is no such file.
            OSError: If a file cannot be read.
        """
        return self._outputs("embedding", given)

    def predict(self, given: Any) -> Predictions:
        """Return the class of each sample with its probability, and all probabilities.

        Args:
            given: As for `embed`.

        Raises:
            ValueError: As `embed`, and if the model has no class scores.
        """
        if "logits" not in self._widths:
            raise ValueError("this model has no class scores: use embed(…).")
        return Predictions.of(self._outputs("logits", given), self.classes)

    def _outputs(self, name: str, given: Any) -> Floats:
        samples = self._listed(given)
        order = list(range(len(samples)))
        if self.contents.kind == "text":
            # Those of like length together: padding costs as much as text does.
            lengths = [len(text) for text in reading.texts(samples)]
            order.sort(key=lengths.__getitem__)
        parts = [np.empty((0, self._widths[name]), np.float32)]
        for i in range(0, len(order), BATCH):
            inputs = self._inputs([samples[row] for row in order[i : i + BATCH]])
            parts += self._session.run([name], inputs)
        outputs: Floats = np.concatenate(parts)
        return outputs[np.argsort(order)]

    def _listed(self, given: Any) -> list[Any]:
        if self.contents.kind != "image":
            return reading.listed(given)
        floats = reading.float_images(given, self.contents.shape or ())
        return reading.listed_pictures(given) if floats is None else list(floats)

    def _inputs(self, samples: Sequence[Any]) -> Inputs:
        """Return what the graph is given for samples, by name."""
        if self.contents.kind == "text":
            return self._tokens([self.contents.prompt + text for text in samples])
        shape = self.contents.shape or ()
        if self.contents.kind == "array":
            return {"arrays": _finite(reading.arrays(samples, shape))}
        floats = reading.float_images(samples, shape)
        if floats is None:
            pixels = reading.images(samples, shape)
            return {"images": pixels if self.contents.uint8 else pixels.astype(np.float32) / 255}
        takes_bytes = self.contents.uint8
        return {"images": (255 * floats).round().astype(np.uint8) if takes_bytes else floats}

    def _tokens(self, texts: list[str]) -> Inputs:
        made = self._tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in made], np.int64).reshape(len(texts), -1)
        mask = np.array([one.attention_mask for one in made], np.int64).reshape(len(texts), -1)
        if not ids.shape[1]:  # texts without tokens: a graph needs one column
            ids, mask = (np.zeros((len(texts), 1), np.int64) for _ in range(2))
        return {"input_ids": ids, "attention_mask": mask}

    def __repr__(self) -> str:
        """Return in a line what it is."""
        shape = "" if self.contents.shape is None else f" of shape {self.contents.shape}"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Model(takes {self.contents.kind}s{shape}{classes}; embedding of {self.width})"


def load(exported: str | Path, *, threads: int = 0) -> Model:
    """Return an exported student, ready to use without torch.

    Args:
        exported: What `asterism export RUN --to onnx` wrote: the folder, its `model.onnx`, or the
            run folder that it is in.
        threads: Threads for one call; 0 for as many as there are cores.

    Raises:
        FileNotFoundError: If there is no model.
        ValueError: If it is damaged or no export of asterism, or a library is missing.
    """
    file = _found(Path(located(exported)))
    library = _library("onnxruntime")
    version = tuple(int(part) for part in library.__version__.split(".")[:2])
    if version < OLDEST:
        raise ValueError(
            f"onnxruntime must be {'.'.join(map(str, OLDEST))} or newer, as older ones read files "
            f"outside a model's folder; got {library.__version__}: pip install -U onnxruntime."
        )
    options = library.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.intra_op_num_threads = threads
    try:
        session = library.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no common class
        raise ValueError(
            f"{file} is no model that onnxruntime can load: {_short(error)}."
        ) from None
    if session.get_modelmeta().custom_metadata_map.get("kind") == '"text"':
        _library("tokenizers")  # what is missing is no damage
    try:
        return _model(session, file)
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"{file} is no export of asterism, or is damaged ({_short(error)}): `asterism export "
            "RUN --to onnx` makes one."
        ) from error


def _found(place: Path) -> Path:
    for inside in PLACES:
        file = place / inside if inside else place
        if file.is_file():
            return file
    if not place.exists():
        raise FileNotFoundError(f"{nothing_at(place)}.")
    raise FileNotFoundError(
        f"{place} holds no model.onnx: `asterism export RUN --to onnx` makes one."
    )


def _model(session: Any, file: Path) -> Model:
    """Join a session with what its metadata say; raises KeyError, TypeError or ValueError."""
    contents = _contents(session.get_modelmeta().custom_metadata_map)
    inputs = {"image": {"images"}, "array": {"arrays"}, "text": {"input_ids", "attention_mask"}}
    if {each.name for each in session.get_inputs()} != inputs[contents.kind]:
        raise ValueError(f"its inputs are not those of {contents.kind}s")
    if contents.kind != "text":
        return Model(session, contents)
    described = read_file(file.parent / "tokenizer.json").decode("utf-8")
    library = _library("tokenizers")
    try:
        return Model(session, contents, library.Tokenizer.from_str(described))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"tokenizer.json describes none: {_short(error)}") from error


def _contents(metadata: dict[str, str]) -> Contents:
    known = {key: parse_json(value) for key, value in metadata.items()}
    shape, classes, prompt = known.get("shape"), known.get("class_names"), known.get("prompt", "")
    if known["kind"] not in ("image", "text", "array") or not isinstance(prompt, str):
        raise ValueError("kind or prompt is none")
    if classes is not None and not (isinstance(classes, list) and all(map(_is_text, classes))):
        raise ValueError("its classes have no names")
    if (shape is None) != (known["kind"] == "text"):
        raise ValueError("it has no shape")
    sides = None if shape is None else tuple(map(_side, shape))
    if known["kind"] == "image" and len(sides or ()) != 3:
        raise ValueError("images have three sides")
    if math.prod(sides or ()) > LARGEST:
        raise ValueError("its samples are larger than any")
    return Contents(
        kind=known["kind"],
        shape=sides,
        classes=None if classes is None else tuple(classes),
        prompt=prompt,
        uint8=str(known.get("values")).startswith("bytes"),
        space=str(known.get("space")),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _side(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"a side of {value!r}")
    return value


def _finite(arrays: Floats) -> Floats:
    if not math.isfinite(float(arrays.sum())) and not np.isfinite(arrays).all():
        raise ValueError("the model takes finite numbers; got NaN or infinite values.")
    return arrays


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"asterism.runtime needs {name}: pip install {name}, or 'asterism[runtime]'."
        ) from error


def _short(error: Exception) -> str:
    return readable(" ".join(str(error).split()) or type(error).__name__, 200).rstrip(".")
