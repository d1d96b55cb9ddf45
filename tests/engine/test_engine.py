"""Tests for asterism/engine, on the real digits."""

import json

import pytest
import torch
from engine_runs import SPEC, training, weights, without_speed
from torch import nn

from asterism import KD, RKD, Callback, Method, Outputs
from asterism.engine.optimiser import make_optimizer, make_schedule
from asterism.models import build
from asterism.optimizers import OURS, TORCH
from asterism.relations.budget import block_elements
from asterism.run import Run
from asterism.settings import Settings


def test_the_same_seed_gives_the_same_bits(tmp_path):
    one, two, other = (
        training(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert all(torch.equal(x, weights(two)[k]) for k, x in weights(one).items())
    assert not all(torch.equal(x, weights(other)[k]) for k, x in weights(one).items())
    assert without_speed(tmp_path / "a") == without_speed(tmp_path / "b")


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
    saved = torch.load(tmp_path / "a" / "checkpoints" / "best.ckpt", weights_only=True)
    assert not [k for part in ("student", "objective") for k in saved[part] if "teacher" in k]


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
    assert lines[0]["samples_per_second"] > 0
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
    with pytest.raises(ValueError, match=r"step 0: not finite: kd.*asterism doctor.*samples \d+"):
        training(tmp_path / "a", teacher=teacher, methods=[KD()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"clip": -1.0}, "clip must be at least 0; got -1.0"),
        ({"seed": 2**32}, "seed must be at least 0 and below 4294967296; got 4294967296"),
        (
            {"view_seed": 10**20},
            "view_seed must be above -9223372036854775808 and below 9223372036854775808",
        ),
        ({"lr": 0.0}, "lr must be above 0; got 0.0"),
        ({"relation_memory": 0.0}, "relation_memory must be above 0"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1; got 1.0"),
        ({"schedule": "multi-step"}, "needs milestones"),
        ({"warmup_epochs": 1.0}, "leave warmup_epochs out"),
        (
            {"randaugment_magnitude": 31},
            "randaugment_magnitude must be at least 0 and at most 30; got 31",
        ),
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
    fifths = rates(epochs=3, schedule="multi-step", milestones=(1, 2), milestone_factor=0.2)
    assert fifths[19:21] == pytest.approx([0.2, 0.04])
    assert set(rates(epochs=2, schedule="constant")) == {1.0}


@pytest.mark.parametrize("name", [*OURS, *TORCH])
def test_an_optimiser_by_its_name_goes_downhill(name):
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 3), torch.randn(64, 6)
    optimizer = make_optimizer([layer], Settings(optimizer=name, lr=0.01, weight_decay=1e-3))
    losses = []
    for _ in range(30):
        loss = (layer(x) - x[:, :3]).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-3, 0]


@pytest.mark.parametrize("name", ["sgdd", "Nadam", "muon", "lbfgs", "", "timmlamb"])
def test_an_optimiser_that_there_is_none_of_is_named(name):
    with pytest.raises(ValueError, match=rf"no optimizer '{name}': choose from sgd, .* timm/NAME"):
        Settings(optimizer=name)


def test_a_training_ends_when_it_is_not_better_any_more(tmp_path):
    """Without patience it goes on; stopped and gone on with, it ends at the same epoch."""

    class Stop(Exception):
        pass

    class Stopper(Callback):
        def on_epoch(self, moment, scores):
            if moment.epoch == 1:
                raise Stop

    still = {"epochs": 6, "lr": 1e-12, "schedule": "constant", "patience": 3}
    whole = training(tmp_path / "a", **still)
    with pytest.raises(Stop):
        training(tmp_path / "b", callbacks=(Stopper(),), **still)
    resumed = training(tmp_path / "b", resume=True, **still)
    assert whole.steps == resumed.steps == 4 * 18  # the first epoch is the best
    assert training(tmp_path / "c", **{**still, "epochs": 5, "patience": None}).steps == 5 * 18


def test_no_weight_decay_on_biases_and_norms_unless_it_is_asked_for():
    def decays(**settings):
        chosen = Settings(**settings)
        groups = make_optimizer([nn.Linear(2, 3), nn.BatchNorm1d(3)], chosen).param_groups
        assert [len(group["params"]) for group in groups] == [1, 3]
        return [group["weight_decay"] for group in groups]

    assert decays() == [5e-4, 0]
    assert decays(decay_all=True, weight_decay=0.1) == [0.1, 0.1]
    assert decays(optimizer="adam") == [0, 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"nesterov": False}, torch.optim.SGD),
        ({"optimizer": "adam", "weight_decay": 1e-2}, torch.optim.Adam),
    ],
)
def test_the_optimisers_of_the_papers_are_torchs(settings, expected):
    """Two steps on one weight, decayed as torch does where nothing is changed."""
    steps = {}
    for name in ("ours", "torch"):
        weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        module = nn.ParameterList([weight])
        if name == "ours":
            optimizer = make_optimizer([module], Settings(lr=0.1, decay_all=True, **settings))
        elif expected is torch.optim.SGD:
            optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=5e-4)
        else:
            optimizer = torch.optim.Adam([weight], lr=0.1, weight_decay=1e-2)
        assert type(optimizer) is expected
        for _ in range(2):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
        steps[name] = weight.detach()
    torch.testing.assert_close(steps["ours"], steps["torch"], rtol=0, atol=0)


class Count(Method):
    """Remember how many rows came."""

    paper = "none"

    def __init__(self, views=1):
        super().__init__()
        self.views = views
        self.seen = set()

    def forward(self, student, teacher, batch=None):
        found = (len(student.logits), len(teacher.logits), len(batch.target))
        self.seen.add(found)
        return {"zero": student.logits.sum() * 0}


@pytest.mark.parametrize(
    ("train_views", "one", "two"),
    [
        (None, (64, 64, 64), (128, 128, 64)),
        ("real", (64, 64, 64), (128, 128, 64)),
        ("real,virtual", (128, 128, 128), (128, 128, 64)),
        ("real,virtual,virtual", (192, 192, 192), (128, 128, 64)),
    ],
)
def test_each_method_gets_its_views(tmp_path, train_views, one, two):
    methods = [Count(), Count(views=2)]
    training(
        tmp_path / "a", teacher=build("mlp", SPEC), methods=methods, train_views=train_views,
        limit_steps=2, epochs=1,
    )  # fmt: skip
    assert [m.seen for m in methods] == [{one}, {two}]
