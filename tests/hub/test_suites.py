"""Standard tasks: MTEB's figures of a student are those of the student that was exported."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from students import finished_run

import asterism
from asterism.cli import main
from asterism.models import Spec
from asterism.recipe import suite

TEXTS = [f"a {animal} {verb} on the {place}" for animal in ("cat", "dog", "hen")
         for verb in ("sat", "ran") for place in ("mat", "hill")]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run of a student for texts, untrained."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", *sorted({word for text in TEXTS for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    torch.manual_seed(0)
    spec = Spec(None, None, tokenizer=tokenizer.to_str())
    return finished_run(tmp_path / "run", "text-static?width=8", spec, str(tmp_path / "texts.txt"))


@pytest.mark.filterwarnings("ignore")  # of MTEB and sentence-transformers about each other
def test_mteb_finds_of_a_student_what_it_finds_of_its_export(run, tmp_path):
    mteb = pytest.importorskip("mteb", reason="pip install 'asterism[mteb]'")
    datasets = pytest.importorskip("datasets")
    from mteb.abstasks import AbsTaskSTS
    from sentence_transformers import SentenceTransformer

    nothing = ("reference date domains task_subtypes license annotations_creators dialect "
               "sample_creation bibtex_citation").split()  # fmt: skip

    class Likeness(AbsTaskSTS):
        metadata = mteb.TaskMetadata(
            **dict.fromkeys(nothing), name="Likeness", description="made up", type="STS",
            dataset={"path": "made-up/here", "revision": "1"}, category="t2t", modalities=["text"],
            eval_splits=["test"], eval_langs=["eng-Latn"], main_score="cosine_spearman",
        )  # fmt: skip
        min_score, max_score = 0, 1

        def load_data(self, **kwargs):
            pairs = [(a, b) for a in TEXTS for b in TEXTS]
            shared = [len({*a.split()} & {*b.split()}) / 7 for a, b in pairs]
            columns = {"sentence1": [a for a, _ in pairs], "sentence2": [b for _, b in pairs]}
            test = datasets.Dataset.from_dict({**columns, "score": shared})
            self.dataset, self.data_loaded = {"test": test}, True

    [found] = suite(run, [Likeness()]).scores
    [exported] = asterism.export(run, "sentence-transformers", out=tmp_path / "shipped")
    model = SentenceTransformer(str(exported.folder), device="cpu")
    theirs = mteb.evaluate(model, Likeness(), cache=None, co2_tracker=False)
    assert found.value == pytest.approx(theirs.task_results[0].get_score(), abs=1e-6)
    assert (found.task, found.split, found.metric) == ("Likeness", "test", "cosine_spearman")
    assert found.value > 0.3


def test_what_is_no_suite_or_cannot_be_had_is_a_sentence(run, capsys):
    pytest.importorskip("mteb", reason="pip install 'asterism[mteb]'")
    for name, message in (
        ("mteb:NoSuchTask", "MTEB has no such task: "),
        ("mteb:STSBenchmark", "without a network they must be in the cache"),
        ("mteb", "a suite is mteb:TASK,TASK, nanobeir or folder:PATH; got mteb"),
        ("nanobeer", "(did you mean nanobeir?)"),
        ("folder:nowhere", "folder:PATH holds train and val"),
    ):
        assert main(["evaluate", str(run), "--suite", name]) == 2
        error = capsys.readouterr().err
        assert message in error, error
        assert "Traceback" not in error
    assert main(["evaluate", str(run), "--suite", "nanobeir", "--data", "digits"]) == 2
    assert "leave --data out" in capsys.readouterr().err


def test_a_folder_of_pictures_is_probed_by_its_parts(tmp_path, capsys):
    run = finished_run(tmp_path / "run", "convnet?width=4", Spec(2, (3, 8, 8)), "gone.npz")
    for part, per_class in (("train", 12), ("val", 5)):
        for label, colour in (("dark", (20, 30, 40)), ("light", (220, 200, 230))):
            for i in range(per_class):
                file = tmp_path / "pictures" / part / label / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (9, 8), tuple(x + i for x in colour)).save(file)
    found = suite(run, f"folder:{tmp_path / 'pictures'}")
    assert (found.learnt, found.tested, found.classes) == (24, 10, 2)
    assert Path(found.test_data).name == "val"
    assert main(["evaluate", str(run), "--suite", f"folder:{tmp_path / 'pictures'}"]) == 0
    assert "linear probe" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is of texts, and the student of .* takes images"):
        suite(run, "nanobeir")
