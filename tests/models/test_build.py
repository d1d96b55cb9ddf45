"""Tests for asterism/models."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asterism import Outputs
from asterism.models import Spec, build, weights_of
from asterism.models.build import IMAGE_MODELS

SPEC = Spec(classes=7, shape=(3, 32, 32), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3))


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_every_model_gives_outputs(name):
    """On the meta device: shapes are all that is asked."""
    with torch.no_grad(), torch.device("meta"):
        outputs = build(name, SPEC).eval()(torch.rand(2, 3, 32, 32))
        without = build(name, Spec(None, (3, 32, 32))).eval()
        assert without(torch.rand(1, 3, 32, 32)).logits is None
    assert outputs.logits.shape == (2, 7)
    assert outputs.embedding.ndim == 2


@pytest.mark.parametrize(
    ("name", "millions", "width"),
    [
        ("resnet8", 0.08, 64),
        ("resnet20", 0.28, 64),
        ("resnet56", 0.86, 64),
        ("resnet8x4", 1.23, 256),
        ("resnet32x4", 7.43, 256),
        ("wrn-16-2", 0.70, 128),
        ("wrn-40-1", 0.57, 64),
        ("wrn-40-2", 2.26, 128),
        ("vgg8", 3.97, 512),
        ("vgg13", 9.46, 512),
    ],
)
def test_sizes_are_those_of_the_literature(name, millions, width):
    model = build(name, Spec(100, (3, 32, 32)))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.007)
    assert model.classifier.in_features == width


@pytest.mark.parametrize(
    ("name", "parameters", "width"),
    [
        ("resnet18", 11_220_132, 512),
        ("resnet34", 21_328_292, 512),
        ("resnet50", 23_705_252, 2048),
        ("resnet101", 42_697_380, 2048),
        ("vgg11", 9_277_284, 512),
        ("mobilenetv2-half", 812_836, 1280),
        ("shufflenetv1", 949_258, 960),
        ("shufflenetv2", 1_355_528, 1024),
    ],
)
def test_parameters_are_those_that_were_published(name, parameters, width):
    """Counted on the meta device: no memory, no time."""
    with torch.device("meta"):
        model = build(name, Spec(100, (3, 32, 32)))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.classifier.in_features == width


def test_networks_of_other_sizes_are_the_published_ones():
    with torch.device("meta"):
        deit = build("deit-tiny?patch=16", Spec(1000, (3, 224, 224)))
        conv4 = build("conv4", Spec(None, (1, 28, 28)))
        half = build("resnet9?width=0.5", Spec(100, (3, 32, 32)))
    assert sum(p.numel() for p in deit.parameters()) == 5_717_416
    assert sum(p.numel() for p in conv4.parameters()) == 111_936
    assert half.classifier.in_features == 256
    assert len([m for m in half.modules() if isinstance(m, torch.nn.Conv2d)]) == 9 + 3
    small = build("deit-tiny", Spec(10, (3, 32, 32))).eval()
    assert small.places.shape == (1, 65, 192)
    with pytest.raises(ValueError, match=r"must be a multiple of patch=4"):
        build("deit-tiny", Spec(10, (1, 30, 30)))


def test_a_wide_resnet_activates_before_it_convolves():
    """Blocks of zeros pass on what is left of the stem, negative values too."""
    model = build("wrn-16-2", SPEC).eval()
    images = torch.rand(2, 3, 32, 32)
    block = model.blocks[1]  # of one width: its shortcut is the input itself
    x = torch.randn(2, 32, 32, 32)
    torch.nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x.clone()), x)
    assert model.blocks[0].shortcut is not None
    assert (model(images).embedding >= 0).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28)])
@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet?width=8", "resnet8"])
def test_small_grey_images(name, shape):
    assert build(name, Spec(10, shape)).eval()(torch.rand(2, *shape)).logits.shape == (2, 10)


def test_normalisation_is_inside_and_travels_with_the_weights(tmp_path):
    model = build("convnet", SPEC).eval()
    save_file(weights_of(model), tmp_path / "student.safetensors")
    images = torch.rand(2, 3, 32, 32)
    for place in (tmp_path / "student.safetensors", tmp_path):  # the file, or the run folder
        other = build(f"convnet?weights={place}", Spec(7, (3, 32, 32))).eval()
        torch.testing.assert_close(other(images), model(images))


FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, form, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)
        self.form = form

    def forward(self, x):
        maps = self.features(x)
        embedding = self.pool(maps).flatten(1)
        logits = self.head(embedding)
        return {"tensor": logits, "pair": (embedding, logits), "dict": {"a": 1}}[self.form]

def make(classes=7, form="tensor", width=5):
    return Net(classes, form, width)

def wrong():
    return 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(FACTORY)
    return path


def test_anyones_module_by_file(file):
    torch.manual_seed(0)
    model = build(f"{file}:make", SPEC)
    images = torch.rand(2, 3, 9, 9)
    outputs = model(images)
    # A tensor as wide as there are classes is logits; the embedding is what enters the classifier.
    torch.testing.assert_close(model.module.head(outputs.embedding), outputs.logits)
    pair = build(f"{file}:make?form=pair&width=9", SPEC)
    assert pair(images).embedding.shape == (2, 9)
    named = build(f"{file}:make?embedding=features", SPEC)
    torch.testing.assert_close(named(images).embedding, named.module.features(images).mean((2, 3)))
    # No classes in the data: any tensor is an embedding.
    assert build(f"{file}:make", Spec(None, (3, 9, 9)))(images).logits is None


def test_module_objects_and_factories():
    images = torch.rand(2, 3, 4, 4)
    for given in (nn.Flatten(), nn.Flatten):
        assert torch.equal(build(given, SPEC)(images).embedding, images.flatten(1))

    class Own(nn.Module):
        def forward(self, x):
            return Outputs(x.mean((2, 3)))

    assert build(Own(), SPEC)(images).embedding.shape == (2, 3)
    model = build("convnet", SPEC)
    assert build(model, SPEC) is model


def test_weights_keep_the_authors_names(file):
    assert "head.weight" in weights_of(build(f"{file}:make", SPEC))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("resnet21", ValueError, r"unknown model 'resnet21' .did you mean resnet2?"),
        ("convnet?widht=3", ValueError, "takes no argument 'widht' .did you mean width"),
        ("FILE:make?widht=3", ValueError, "takes no argument 'widht'"),
        ("FILE:nix", ValueError, "has no factory 'nix'"),
        ("FILE:wrong", ValueError, "must return a torch.nn.Module; got int"),
        ("nix.py:make", FileNotFoundError, "no model file at nix.py"),
        ("FILE:make?embedding=nix", ValueError, "no submodule 'nix'.*choose from features"),
        ("convnet?weights=nix", FileNotFoundError, "no weights at nix"),
        ("convnet?weights=FILE", ValueError, "is not a safetensors file"),
        ("mlp?weights=WEIGHTS", ValueError, "does not fit mlp: .*is missing"),
        ("convnet?weights=WEIGHTS&classes=9", ValueError, r"\(7, 128\) instead of \(9, 128\)"),
    ],
)
def test_says_what_is_wrong(name, error, message, file, tmp_path):
    save_file(weights_of(build("convnet", SPEC)), tmp_path / "w.safetensors")
    name = name.replace("FILE", str(file)).replace("WEIGHTS", str(tmp_path / "w.safetensors"))
    with pytest.raises(error, match=message):
        build(name, SPEC)


def test_a_strange_return_value_is_named(file):
    with pytest.raises(ValueError, match=r"this one returned a dict \(a\)"):
        build(f"{file}:make?form=dict", SPEC)(torch.rand(1, 3, 8, 8))
