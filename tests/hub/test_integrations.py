"""Tests for asterism/integrations: what methods get, what is refused, what a checkpoint holds."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import asterism
from asterism import Outputs

WORDS = "red blue bird tree river sings grows flows".split()


def sentences(width, words=WORDS):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token=words[0]))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=width)])


def texts(**more):
    from datasets import Dataset

    return Dataset.from_dict({"text": WORDS, **more})


def test_a_label_a_live_teacher_a_file_and_a_cache_teach_the_same(tmp_path):
    from asterism.integrations.sentence_transformers import MethodLoss, with_teacher

    student, teacher = sentences(4), sentences(6)
    vectors = teacher.encode(WORDS)
    np.save(tmp_path / "vectors.npy", vectors)
    features = [student.preprocess(WORDS)]
    teacher.save_pretrained(str(tmp_path / "teacher"))
    (tmp_path / "texts.txt").write_text("\n".join(WORDS))
    cache = {"out": tmp_path / "cache", "dtype": "float32"}
    asterism.cache(f"st/{tmp_path}/teacher", str(tmp_path / "texts.txt"), **cache)
    losses = []
    for named in (teacher, tmp_path / "vectors.npy", tmp_path / "cache"):
        data = with_teacher(texts(score=[0.5] * 8), named, columns=["text"])
        assert data.column_names == ["text", "label"]
        loss = MethodLoss(student, asterism.RKD(), data)
        losses.append(loss(features, torch.tensor(data["label"])))
    live = MethodLoss(student, asterism.RKD(), texts(), teacher=teacher)
    losses.append(live(features, None))
    expected = asterism.RKD()(
        Outputs(student(features[0])["sentence_embedding"]), Outputs(torch.tensor(vectors))
    )
    for terms in losses:
        torch.testing.assert_close(terms, expected)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_columns_are_one_set_of_samples_and_banks_rest_in_evaluation():
    from asterism.integrations.sentence_transformers import MethodLoss, with_teacher

    student, teacher = sentences(4), sentences(6)
    data = with_teacher(texts(other=WORDS[::-1]), teacher)
    loss = MethodLoss(student, [asterism.RRD(bank_size=32, dim=3), asterism.Anchored()], data)
    features = [student.preprocess(WORDS), student.preprocess(WORDS[::-1])]
    bank = loss.distillation.methods[0].bank
    for mode, moved in (("eval", 0), ("train", 16)):
        getattr(student, mode)()
        loss(features, torch.tensor(data["label"]))
        assert int(bank.pointer) == moved
    weight, bias = loss.aligner()
    assert weight.shape == (6, 4)
    assert bias.shape == (6,)
    assert loss.citation.count("@misc") == 2
    assert "2407.12073" in loss.citation
    assert loss.get_config_dict()["methods"]["RRD"]["dim"] == 3


@pytest.mark.parametrize(
    ("method", "data", "said"),
    [
        (asterism.KD(), {"label": [[0.0]] * 8}, "KD needs logits"),
        (asterism.VRM(), {"label": [[0.0]] * 8}, "VRM compares 2 views"),
        (asterism.CRD(), {"label": [[0.0]] * 8}, "CRD needs index and target"),
        (asterism.RRKD(anchors="random"), {"label": [[0.0, 1.0]] * 8}, "fixed anchor samples"),
        (asterism.RKD(), {}, "teacher's embedding"),
        (asterism.RKD(), {"label": list(range(8))}, "teacher's embedding"),
        (asterism.RKD(), {"label": [[[0.0]] * 3] * 8}, "of each of 1 columns"),
    ],
)
def test_sentence_losses_say_what_they_cannot(method, data, said):
    from asterism.integrations.sentence_transformers import MethodLoss

    with pytest.raises(ValueError, match=said):
        MethodLoss(sentences(4), method, texts(**data))


def test_a_teacher_of_other_tokens_is_refused():
    from asterism.integrations.sentence_transformers import MethodLoss

    with pytest.raises(ValueError, match="must have the same ones"):
        MethodLoss(sentences(4), asterism.RKD(), texts(), teacher=sentences(6, WORDS[::-1]))


class Scorer(nn.Module):
    """Called as the transformers library's models are."""

    class Config:
        num_labels = 3

        def to_dict(self):
            return {}

    config = Config()

    def __init__(self, width):
        super().__init__()
        self.embed, self.classify = nn.Linear(5, width), nn.Linear(width, 3)

    def forward(self, x, labels=None):
        from transformers.modeling_outputs import SequenceClassifierOutput

        logits = self.classify(self.embed(x))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def trained(tmp_path, columns, *, epochs=1, **options):
    from datasets import Dataset
    from transformers import TrainingArguments

    from asterism.integrations.transformers import DistillTrainer

    torch.manual_seed(0)
    rows = torch.randn(8, 5)
    given = {"x": rows.tolist(), "labels": [0, 1, 2, 0, 1, 2, 0, 1], **columns}
    arguments = TrainingArguments(
        str(tmp_path / "run"), num_train_epochs=epochs, per_device_train_batch_size=8,
        report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="epoch",
    )  # fmt: skip
    trainer = DistillTrainer(
        Scorer(4), arguments, train_dataset=Dataset.from_dict(given), **options
    )
    return trainer, rows, torch.tensor(given["labels"])


@pytest.mark.parametrize("stored", [False, True])
def test_the_trainers_loss_is_the_students_own_and_the_terms(stored, tmp_path):
    teacher = Scorer(6).eval()
    methods = [asterism.RKD(), asterism.KD(weight=2.0), asterism.DKD(), asterism.CRD(dim=3)]
    torch.manual_seed(0)
    rows = torch.randn(8, 5)
    columns = {"index": list(range(8))}
    if stored:
        columns["teacher_embedding"] = teacher.embed(rows).tolist()
        columns["teacher_logits"] = teacher(rows).logits.tolist()
    trainer, rows, labels = trained(
        tmp_path, columns, methods=methods, teacher=None if stored else teacher, task_weight=3.0
    )
    known = {k: torch.tensor(v) for k, v in columns.items()}
    inputs = {"x": rows, "labels": labels, **known}
    student = trainer.model.eval()
    loss, outputs = trainer.compute_loss(student, dict(inputs), return_outputs=True)
    own, theirs = (Outputs(m.embed(rows), m(rows).logits) for m in (student, teacher))
    trainer.distillation.eval()
    terms = trainer.distillation(student=own, teacher=theirs, target=labels, index=torch.arange(8))
    assert len(terms) == 6
    expected = 3 * nn.functional.cross_entropy(own.logits, labels) + sum(terms.values())
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(outputs.logits, own.logits)
    trainer.train()
    assert set(trainer.evaluate(trainer.train_dataset)) >= {"eval_loss"}
    assert (tmp_path / "run/checkpoint-1/methods.safetensors").is_file()
    trainer.model.classify.weight.data.zero_()
    heads = copy.deepcopy(trainer.distillation.state_dict())
    for parameter in trainer.distillation.parameters():
        parameter.data.zero_()
    trainer._load_from_checkpoint(str(tmp_path / "run/checkpoint-1"))
    assert trainer.model.classify.weight.any()
    torch.testing.assert_close(dict(trainer.distillation.state_dict()), dict(heads))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": asterism.RKD()}, "there is no teacher"),
        ({"methods": asterism.VRM(), "teacher": Scorer(6)}, "VRM compares 2 views"),
        ({"methods": asterism.RRKD(anchors="random"), "teacher": Scorer(6)}, "fixed anchor"),
    ],
)
def test_the_trainer_says_what_it_cannot(options, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        trained(tmp_path, {}, **options)


def test_another_trainings_heads_are_refused(tmp_path):
    trainer, *_ = trained(tmp_path, {}, methods=asterism.RRD(dim=3), teacher=Scorer(6))
    trainer.save_model(str(tmp_path / "saved"))
    other, *_ = trained(tmp_path, {}, methods=asterism.RRD(dim=4), teacher=Scorer(6))
    with pytest.raises(ValueError, match="is of other methods"):
        other._restore(tmp_path / "saved")
    (tmp_path / "saved" / "methods.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no methods.safetensors"):
        trainer._restore(tmp_path / "saved")


@pytest.mark.parametrize("named", ["text", "other"])
def test_the_teacher_is_asked_about_the_column_that_is_named(named):
    from asterism.integrations.sentence_transformers import with_teacher

    teacher = sentences(6)
    data = texts(other=WORDS[::-1], label=[0, 1] * 4)
    found = torch.tensor(with_teacher(data, teacher, columns=[named])["label"])
    torch.testing.assert_close(found, torch.tensor(teacher.encode(list(data[named]))))
    both = torch.tensor(with_teacher(data, teacher)["label"])
    assert both.shape == (8, 2, 6)
    torch.testing.assert_close(both[:, 1], both[:, 0].flip(0))
    with pytest.raises(ValueError, match=r"columns of texts must be of the data's"):
        with_teacher(data, teacher, columns=["txt"])


@pytest.mark.parametrize("form", ["samples", "target", "index", "views", "texts", "texts, target"])
def test_a_lightning_batch_is_taken_apart(form):
    from asterism.integrations.lightning import DistillModule

    step = asterism.Distillation(
        nn.Linear(5, 4), nn.Linear(5, 6), asterism.RKD(), example=torch.zeros(2, 5)
    )
    x, target, index = torch.zeros(3, 5), torch.arange(3), torch.arange(3) + 7
    batch, expected = {
        "samples": (x, ((x,), None, None)),
        "target": ([x, target], ((x,), target, None)),
        "index": ((x, target, index), ((x,), target, index)),
        "views": (((x, x), target), ((x, x), target, None)),
        "texts": (["a", "b"], ((["a", "b"],), None, None)),
        "texts, target": ((["a", "b"], target), ((["a", "b"],), target, None)),
    }[form]
    views, *rest = DistillModule(step).parts(batch)
    assert len(views) == len(expected[0])
    assert all(one is other for one, other in zip(rest, expected[1:], strict=True))
    if "texts" in form:
        assert views == expected[0]


def test_a_task_of_timm():
    import timm

    from asterism.integrations.timm import DistillTask

    student, teacher = (
        timm.create_model("test_resnet", num_classes=4).eval(),
        timm.create_model("test_vit", num_classes=4, img_size=32),
    )
    images, target = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    methods = [asterism.RKD(), asterism.KD(), asterism.RRD(bank_size=8, dim=3)]
    task = DistillTask(student, teacher, methods, example=images).train()
    assert not teacher.training
    student.eval()
    result = task(images, target)
    result["loss"].backward()
    assert {"output", "task_loss", "rkd/angle", "kd/kd", "rrd/relation"} < set(result)
    normalised = task.teacher.normalize_input(images, task.student_mean, task.student_std)
    own = Outputs(student.forward_head(student.forward_features(images), pre_logits=True))
    theirs = Outputs(teacher.forward_head(teacher.forward_features(normalised), pre_logits=True))
    expected = asterism.RKD()(own, theirs)
    torch.testing.assert_close(result["rkd/angle"], expected["angle"])
    torch.testing.assert_close(result["output"], student(images))
    assert task.get_eval_model() is student
    state = task.get_checkpoint_state()
    again = DistillTask(
        timm.create_model("test_resnet", num_classes=4), teacher, [type(m)() for m in methods[:2]]
        + [asterism.RRD(bank_size=8, dim=3)], example=images,
    )  # fmt: skip
    again.load_checkpoint_state(state["state_dict"], state["task_state"])
    torch.testing.assert_close(dict(again.get_task_state()), dict(task.get_task_state()))
    with pytest.raises(ValueError, match="VRM needs two views"):
        DistillTask(student, teacher, asterism.VRM(), example=images)


def test_a_metric_loss_is_a_method():
    from pytorch_metric_learning.losses import CrossBatchMemory, TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner
    from pytorch_metric_learning.utils.distributed import DistributedLossWrapper

    from asterism.integrations.pytorch_metric_learning import MetricLoss

    loss, miner = TripletMarginLoss(), TripletMarginMiner()
    network, teacher = nn.Linear(5, 4), nn.Linear(5, 6)
    rows, target = torch.randn(8, 5), torch.arange(8) % 3
    methods = [asterism.RKD(), MetricLoss(loss=loss, miner=miner, weight=2.0)]
    step = asterism.Distillation(network, teacher, methods, example=rows)
    embedding = network(rows)
    expected = 2 * loss(embedding, target, miner(embedding, target))
    torch.testing.assert_close(step(rows, target=target)["metricloss/metric"], expected)
    with pytest.raises(ValueError, match="MetricLoss needs labels"):
        step(rows)
    for wrapper in (DistributedLossWrapper(loss), CrossBatchMemory(loss, 4)):
        with pytest.raises(ValueError, match="MetricLoss takes the loss inside"):
            MetricLoss(loss=wrapper)
