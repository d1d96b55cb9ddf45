"""`transformers`: an encoder that `AutoModel.from_pretrained` loads, with what goes before it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Encode, Subject
from asterism.models.hub import Prepared, load_library
from asterism.models.hub.encoders import ImageEncoder, TextEncoder, Tower
from asterism.models.hub.saved import first_columns, pooled
from asterism.types import Outputs, Samples

MAX = """mask = given["attention_mask"][:, :, None].bool()
embedding = output.last_hidden_state.masked_fill(~mask, -torch.inf).amax(1)
"""
LAST = """last = given["attention_mask"].sum(1) - 1
embedding = output.last_hidden_state[torch.arange(len(last)), last]
"""


class Transformers(Exporter):
    """Students that are encoders of the library; pooling is told, and is up to the caller."""

    name = "transformers"
    libraries = ("transformers",)
    extra = "hf"
    has_logits = False

    def refusal(self, subject: Subject) -> str | None:
        """Return why: not an encoder of the library, or with a map behind it."""
        encoder = encoder_of(subject)
        if encoder is None:
            return "it is no encoder of transformers"
        if isinstance(encoder.module, Tower):
            return "it is half of a model of images and texts, and AutoModel loads both"
        return "its encoders have no place for the map" if subject.aligned else None

    def write(self, subject: Subject, folder: Path) -> None:
        """Write config.json, model.safetensors, and the tokeniser or the preprocessing."""
        encoder = encoder_of(subject)
        assert encoder is not None
        save_encoder(encoder.module, folder)
        if isinstance(encoder, TextEncoder):
            fast_tokenizer(subject, encoder).save_pretrained(folder)
        else:
            described = _preprocessing(subject)
            (folder / "preprocessor_config.json").write_text(json.dumps(described, indent=2) + "\n")

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return the pooled outputs of the encoder, loaded again."""
        library = load_library("transformers", self.extra)
        with quiet():
            model = library.AutoModel.from_pretrained(folder, local_files_only=True).eval()
        encoder = encoder_of(subject)
        assert encoder is not None
        if isinstance(encoder, ImageEncoder):
            return _of_images(model, encoder, subject)
        tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)

        @torch.no_grad()
        def encode(samples: Samples) -> Outputs:
            texts = [encoder.prompt + text for text in samples]
            given = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            output = model(**given)
            last = output.last_hidden_state
            if encoder.pooling == "pooler":
                embedding: Tensor = output.pooler_output
            else:
                embedding = pooled(last, given["attention_mask"].bool(), encoder.pooling)
            embedding = F.normalize(embedding) if encoder.normalise else embedding
            return Outputs(first_columns(embedding, encoder.truncate))

        return encode

    def snippet(self, subject: Subject) -> str:
        """Return how transformers loads it."""
        head = "import torch\nimport transformers\n\n"
        head += 'model = transformers.AutoModel.from_pretrained(".").eval()\n'
        encoder = encoder_of(subject)
        pooling = encoder.pooling if encoder is not None else None
        if isinstance(encoder, TextEncoder):
            head += (
                f"texts = {subject.texts}\n"
                'tokenizer = transformers.AutoTokenizer.from_pretrained(".")\n'
                'given = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")\n'
            )
            mean = (
                'mask = given["attention_mask"][:, :, None]\n'
                "embedding = (output.last_hidden_state * mask).sum(1) / mask.sum(1)\n"
            )
            unit = "embedding = torch.nn.functional.normalize(embedding)\n"
            unit = unit if encoder.normalise else ""
            if encoder.truncate is not None:
                unit += f"embedding = embedding[:, :{encoder.truncate}]\n"
        else:
            prepared = _prepared(subject)
            options = encoder.options if encoder is not None else {}
            stretched = "".join(f', "{name}": {value}' for name, value in options.items())
            head += (
                f"images = torch.as_tensor(samples)\nif images.shape[2] != {prepared.size}:\n"
                f"    images = torch.nn.functional.interpolate(images, [{prepared.size}] * 2,\n"
                '        mode="bicubic", antialias=True).clamp(0, 1)\n'
                f"mean, std = torch.tensor({prepared.normalise.mean.flatten().tolist()}), "
                f"torch.tensor({prepared.normalise.std.flatten().tolist()})\n"
                "images = (images - mean[:, None, None]) / std[:, None, None]\n"
                f'given = {{"pixel_values": images{stretched}}}\n'
            )
            mean = "embedding = output.last_hidden_state.flatten(2).mean(1)\n"
            unit = ""
        pooled = {
            "mean": mean,
            "max": MAX,
            "lasttoken": LAST,
            "cls": "embedding = output.last_hidden_state[:, 0]\n",
            "pooler": "embedding = output.pooler_output.flatten(1)\n",
        }
        end = pooled[pooling or "cls"] + unit
        return head + "with torch.no_grad():\n    output = model(**given)\n" + end


def encoder_of(subject: Subject) -> ImageEncoder | TextEncoder | None:
    """Return the encoder of transformers that a student is; None for others."""
    found = (
        m for m in subject.student.model.modules() if isinstance(m, ImageEncoder | TextEncoder)
    )
    return next(found, None)


def save_encoder(module: nn.Module, folder: Path) -> None:
    """Write a model of the library by itself, as safetensors."""
    model: Any = module
    model.config._name_or_path = ""  # a folder of this machine is nobody's business
    with quiet():
        model.save_pretrained(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's bars and advice off the screen."""
    logging = load_library("transformers.utils.logging", Transformers.extra)
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def fast_tokenizer(subject: Subject, encoder: TextEncoder) -> Any:
    """Return the student's tokeniser as the library has them."""
    library = load_library("transformers", Transformers.extra)
    tokenizer = subject.shipped_tokenizer(padding=False)
    longest = tokenizer.truncation["max_length"]
    config: Any = encoder.module.config
    padding = tokenizer.id_to_token(getattr(config, "pad_token_id", None) or 0)
    return library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=longest,
        pad_token=padding,
        model_input_names=["input_ids", "attention_mask"],
    )


def _prepared(subject: Subject) -> Prepared:
    return next(m for m in subject.student.model.modules() if isinstance(m, Prepared))


def _preprocessing(subject: Subject) -> dict[str, Any]:
    prepared = _prepared(subject)
    return {
        "do_resize": True,
        "size": {"height": prepared.size, "width": prepared.size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": prepared.normalise.mean.flatten().tolist(),
        "image_std": prepared.normalise.std.flatten().tolist(),
        "image_processor_type": "ViTImageProcessor",
    }


def _of_images(model: Any, encoder: ImageEncoder, subject: Subject) -> Encode:
    prepared = _prepared(subject)
    other = ImageEncoder(model, pooling=encoder.pooling, resized=bool(encoder.options))
    whole = Prepared(
        other,
        size=prepared.size,
        mean=prepared.normalise.mean.flatten().tolist(),
        std=prepared.normalise.std.flatten().tolist(),
    ).eval()

    @torch.no_grad()
    def encode(samples: Samples) -> Outputs:
        assert isinstance(samples, Tensor)
        outputs: Outputs = whole(samples)
        return outputs

    return encode
