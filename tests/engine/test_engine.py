"""Tests for asterism/engine, on the real digits."""

import json
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from asterism import KD, RKD, RRD, VRM, Method, Outputs
from asterism.data import open_data
from asterism.engine import Settings, fit, seed_everything
from asterism.engine.optimisation import make_optimizer, make_schedule
from asterism.evaluate import classification
from asterism.models import Spec, build
from asterism.relations.budget import block_elements
from asterism.run import Run

SPEC = Spec(10, (1, 8, 8))


def accuracy(outputs, target):
    return {"accuracy": classification(outputs.logits, target).top1}


def training(folder, *, teacher=None, methods=(), resume=False, student="mlp", **settings):
    """Fit a student on the digits and return it with its run."""
    settings = {"epochs": 3, "lr": 0.05, "batch_size": 64} | settings
    seed_everything(settings.get("seed", 0), verbose=False)
    model = build(student, SPEC) if isinstance(student, str) else student
    folder.mkdir(exist_ok=True)
    fitted = fit(
        model,
        teacher,
        list(methods),
        open_data("digits"),
        Run(folder),
        settings=Settings(**settings),
        score=accuracy,
        use_labels=True,
        resume=resume,
    )
    return fitted


def weights(fitted):
    return dict(fitted.student.state_dict())


def without_speed(folder):
    lines = Run(folder).read_metrics()
    return [
        {k: v for k, v in line.items() if k not in ("images_per_second", "data_share")}
        for line in lines
    ]


def test_the_same_seed_gives_the_same_bits(tmp_path):
    one, two, other = (
        training(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert all(torch.equal(x, weights(two)[k]) for k, x in weights(one).items())
    assert not all(torch.equal(x, weights(other)[k]) for k, x in weights(one).items())
    assert without_speed(tmp_path / "a") == without_speed(tmp_path / "b")


@contextmanager
def interrupted(epoch):
    """Stop the training in the middle of an epoch."""

    class Stop(Exception):
        pass

    original = Run.append_metrics

    def interrupt(self, line):
        original(self, line)
        if line["epoch"] == epoch:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Run, "append_metrics", interrupt)
        yield


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_ends_where_the_uninterrupted_one_does(tmp_path, workers):
    """With dropout, momentum, an average and a schedule, which all have state."""
    student = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 16), nn.Linear(16, 10))

    def go(folder, **options):
        torch.manual_seed(5)
        for layer in student:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        options |= {"ema": 0.9, "epochs": 4, "workers": workers}
        return training(folder, student=build(student, SPEC), **options)

    whole = {k: v.clone() for k, v in weights(go(tmp_path / "whole")).items()}

    with interrupted(epoch=2):
        go(tmp_path / "parts")
    resumed = go(tmp_path / "parts", resume=True)
    assert all(torch.equal(x, whole[k]) for k, x in weights(resumed).items())
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")


def test_a_method_with_state_resumes_where_it_stopped(tmp_path):
    """RRD's bank, pointer and heads; VRM's ramp."""
    teacher = build("convnet", SPEC)

    def go(folder, **options):
        seed_everything(0, verbose=False)
        methods = [RRD(bank_size=200, dim=16), VRM(ramp_steps=30)]
        for method in methods:
            method.setup(student_dim=64, teacher_dim=128)
        return training(folder, teacher=teacher, methods=methods, **options), methods

    whole, methods = go(tmp_path / "whole", epochs=4)

    with interrupted(epoch=2):
        go(tmp_path / "parts", epochs=4)
    resumed, again = go(tmp_path / "parts", epochs=4, resume=True)
    assert all(torch.equal(x, weights(whole)[k]) for k, x in weights(resumed).items())
    for one, two in zip(methods, again, strict=True):
        assert one.state_dict().keys() == two.state_dict().keys() != set()
        assert all(torch.equal(x, two.state_dict()[k]) for k, x in one.state_dict().items())


class WithBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(64)
        self.drop = nn.Dropout(0.5)
        self.embed = nn.Linear(64, 12)
        self.head = nn.Linear(12, 10)
        self.modes = set()

    def forward(self, x):
        self.modes.add((self.training, torch.is_grad_enabled()))
        embedding = self.embed(self.drop(self.norm(x.flatten(1))))
        return Outputs(embedding, self.head(embedding))


def test_teacher_stays_frozen_and_student_trains(tmp_path):
    teacher, student = WithBatchNorm(), WithBatchNorm()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    student.eval()  # whoever looked at it before may have left it so
    training(tmp_path / "a", teacher=teacher, methods=[RKD(), KD()], student=build(student, SPEC))
    assert all(torch.equal(x, before[k]) for k, x in teacher.state_dict().items())
    assert teacher.modes == {(False, False)}
    assert (True, True) in student.modes
    assert student.norm.num_batches_tracked > 0
    saved = torch.load(tmp_path / "a" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not [k for k in saved["state_dict"] if "teacher" in k]


def test_metrics_name_every_term(tmp_path):
    training(
        tmp_path / "a", teacher=build("convnet", SPEC), methods=[RKD(), KD()], log_every=5, epochs=1
    )
    lines = [json.loads(x) for x in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 18, 18]
    names = {"train/task", "train/rkd/distance", "train/rkd/angle", "train/kd/kd", "train/loss"}
    assert names <= lines[0].keys()
    terms = sum(lines[0][name] for name in names - {"train/loss"})
    assert lines[0]["train/loss"] == pytest.approx(terms, rel=1e-5)
    assert lines[0]["images_per_second"] > 0
    assert set(lines[-1]) == {"step", "epoch", "validation/accuracy"}


def test_the_best_state_is_kept(tmp_path):
    """A learning rate that ruins the last epochs must not ruin the student."""
    fitted = training(tmp_path / "a", epochs=6, schedule="constant", lr=0.1)
    scores = [x["validation/accuracy"] for x in Run(tmp_path / "a").read_metrics() if "lr" not in x]
    assert fitted.score == max(scores)
    last = training(tmp_path / "b", epochs=6, schedule="constant", lr=0.1, keep="last")
    assert last.score == scores[-1]


def test_limit_steps(tmp_path):
    assert training(tmp_path / "a", limit_steps=4).steps == 4


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"optimizer": "adamw", "lr": 0.003}])
def test_other_precisions_and_optimisers_learn_too(tmp_path, options):
    assert training(tmp_path / "a", clip=1.0, epochs=4, **options).score > 0.8


def test_a_loss_that_is_not_finite_stops_in_words(tmp_path):
    class Broken(WithBatchNorm):
        def forward(self, x):
            return Outputs(super().forward(x).embedding, torch.full((len(x), 10), float("nan")))

    teacher = Broken()
    with pytest.raises(ValueError, match=r"step 0: the term kd is not finite.*--lr.*samples \d+"):
        training(tmp_path / "a", teacher=teacher, methods=[KD()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"clip": -1.0}, "clip must not be negative"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"relation_memory": 0.0}, "relation_memory must be positive"),
        ({"ema": 1.0}, "ema is a decay between 0 and 1"),
        ({"schedule": "multi-step"}, "needs milestones"),
        ({"warmup_epochs": 1.0}, "leave warmup_epochs out"),
        ({"devices": 2}, "trains on one device"),
        ({"train_views": "virtual"}, "train_views are real, or real,virtual"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)


def test_relations_keep_to_their_memory_while_training(tmp_path):
    class Sees(Method):
        paper = "none"

        def forward(self, student, teacher, batch=None):
            self.seen = block_elements(student.embedding, bytes_each=4, in_cache=2**30)
            return {"none": student.embedding[:0].sum()}

    method = Sees()
    training(
        tmp_path / "a", teacher=build("mlp", SPEC), methods=[method], relation_memory=2,
        limit_steps=1,
    )  # fmt: skip
    assert method.seen == 2 * 2**20 / 4


def rates(steps_per_epoch=10, **settings):
    chosen = Settings(lr=1.0, **settings)
    optimizer = make_optimizer([nn.Linear(2, 2)], chosen)
    schedule = make_schedule(optimizer, chosen, steps_per_epoch=steps_per_epoch)
    found = []
    for _ in range(chosen.epochs * steps_per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_schedules():
    one_cycle = rates(epochs=10)
    assert one_cycle[0] == pytest.approx(0.04)
    assert max(one_cycle) == one_cycle[30] == 1
    assert one_cycle[-1] < 0.001
    cosine = rates(epochs=10, schedule="cosine", warmup_epochs=1)
    assert cosine[0] == pytest.approx(1 / 11)
    assert cosine[10] == 1
    assert cosine[55] == pytest.approx(0.5)
    steps = rates(epochs=10, schedule="multi-step", milestones=(3, 6))
    assert steps[29:31] == pytest.approx([1, 0.1])
    assert steps[60] == pytest.approx(0.01)
    assert set(rates(epochs=2, schedule="constant")) == {1.0}


def test_no_weight_decay_on_biases_and_norms():
    groups = make_optimizer([nn.Linear(2, 3), nn.BatchNorm1d(3)], Settings()).param_groups
    assert [len(group["params"]) for group in groups] == [1, 3]
    assert [group["weight_decay"] for group in groups] == [5e-4, 0]


class Count(Method):
    """Remember how many rows came."""

    paper = "none"

    def __init__(self, views=1):
        super().__init__()
        self.views = views
        self.seen = set()

    def forward(self, student, teacher, batch=None):
        found = (len(student.logits), len(teacher.logits), len(batch.target), len(batch.views))
        self.seen.add(found)
        return {"zero": student.logits.sum() * 0}


@pytest.mark.parametrize(
    ("train_views", "one", "two"),
    [
        (None, (64, 64, 64, 1), (128, 128, 64, 2)),
        ("real,virtual", (128, 128, 128, 2), (128, 128, 64, 2)),
    ],
)
def test_each_method_gets_its_views(tmp_path, train_views, one, two):
    methods = [Count(), Count(views=2)]
    training(
        tmp_path / "a", teacher=build("mlp", SPEC), methods=methods, train_views=train_views,
        limit_steps=2, epochs=1,
    )  # fmt: skip
    assert [m.seen for m in methods] == [{one}, {two}]
