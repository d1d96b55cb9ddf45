"""timm, torchvision and transformers models as teacher and as student; untrained weights."""

import json
import shutil

import pytest
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file

import asterism
from asterism import KD, RKD, recipe
from asterism.data import ArraySource
from asterism.engine.optimiser import make_optimizer
from asterism.models import Spec, build, input_size, weights_of
from asterism.settings import Settings

TIMM = ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"]
TORCHVISION = ["resnet18", "mobilenet_v3_small", "vit_b_16"]
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
TEACHER = Spec(5, (3, 32, 32), own_classifier=True)
STUDENT = Spec(5, (3, 32, 32))
BARE = Spec(None, (3, 32, 32))


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A ViT classifier of 7 classes, saved with another normalisation than the usual one."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(**SMALL, num_labels=7)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    described = {
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
        "size": {"height": 32},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (24, 3, 32, 32), generator=generator, dtype=torch.uint8)


def names(vit):
    found = [f"timm/{name}?pretrained=false&image_size=64" for name in TIMM]
    found += [f"torchvision/{name}?pretrained=false&image_size=64" for name in TORCHVISION[:2]]
    return [*found, f"hf/{vit}"]


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
def test_an_embedding_head_beside_the_librarys_names(name, images):
    name = f"{name}?pretrained=false&image_size=32"
    model = build(f"{name}&dim=6&unit=true", STUDENT).eval()
    embedding, logits = model(images[:3] / 255)
    assert (embedding.shape, logits.shape) == ((3, 6), (3, 5))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    head = {"embedding_head.weight", "embedding_head.bias"}
    assert set(weights_of(model)) == set(weights_of(build(name, STUDENT))) | head
    other = build(f"{name}&dim=6&unit=true", STUDENT).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images[:3] / 255), model(images[:3] / 255))


@pytest.mark.parametrize("which", range(6))
def test_one_step_of_distillation_as_teacher_and_as_student(which, vit, images, tmp_path):
    """Teacher and student of the same kind: its own classes against those of the data."""
    name = names(vit)[which]
    data = ArraySource(images, torch.arange(24) % 5)
    result = recipe.distill(
        name, name, data, method=RKD(), out=tmp_path / "run", batch_size=8, limit_steps=1,
        validation_share=0.3,
    )  # fmt: skip
    assert result.evaluation["steps"] == 1
    own = {"t": 1000, "h": 7}[name[0]]
    teacher = build(name, TEACHER)(torch.rand(2, 3, 32, 32))
    assert teacher.logits.shape == (2, own)
    loaded = asterism.load(result.run)
    outputs = loaded(images[:3] / 255)
    assert outputs.logits.shape == (3, 5)
    torch.testing.assert_close(outputs, result.student(images[:3] / 255), rtol=1e-4, atol=1e-5)


def test_one_step_of_the_smallest_vit_of_torchvision(images):
    """Without the recipe, whose checkpoints of 86 million weights take half a minute."""
    name = "torchvision/vit_b_16?pretrained=false&image_size=32"
    teacher, student = build(name, TEACHER).eval(), build(name, STUDENT)
    with torch.no_grad():
        taught = teacher(images[:6] / 255)
    before = student.module.module.heads.head.weight.clone()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    sum(RKD()(student(images[:6] / 255), taught).values()).backward()
    patches = student.module.module.conv_proj.weight
    assert patches.grad.abs().max() > 0
    old = patches.detach().clone()
    optimizer.step()
    assert not torch.equal(old, patches)
    assert torch.equal(before, student.module.module.heads.head.weight)  # RKD asks for no logits


@pytest.mark.parametrize("name", [*TIMM, "deit_tiny_distilled_patch16_224", "convnext_atto"])
@torch.no_grad()
def test_timm_gives_its_own_features_and_logits(name):
    model = build(f"timm/{name}?pretrained=false", TEACHER).eval()
    own = model.module.module
    config = timm.data.resolve_model_data_config(own)
    images = torch.rand(2, *config["input_size"])
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    outputs = model(images)
    torch.testing.assert_close(outputs.logits, own((images - mean) / std))
    own.reset_classifier(0)
    torch.testing.assert_close(outputs.embedding, own((images - mean) / std))
    student = build(f"timm/{name}?pretrained=false", BARE)
    assert student(images).logits is None
    assert input_size(f"timm/{name}") == 224


@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_torchvision_gives_its_own_logits(name):
    model = build(f"torchvision/{name}?pretrained=false", TEACHER).eval()
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    images = torch.rand(1, 3, 224, 224)
    mean, std = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    outputs = model(images)
    own = model.module.module
    torch.testing.assert_close(outputs.logits, own((images - mean) / std))
    classifier = [m for m in own.modules() if isinstance(m, torch.nn.Linear)][-1]
    torch.testing.assert_close(classifier(outputs.embedding), outputs.logits)
    assert build(f"torchvision/{name}?pretrained=false", BARE).eval()(images).logits is None


@torch.no_grad()
def test_the_auxiliary_classifiers_of_torchvision_are_left_out():
    model = build("torchvision/inception_v3?pretrained=false&image_size=96", STUDENT)
    images = torch.rand(2, 3, 32, 32)
    for training in (False, True):
        embedding, logits = model.train(training)(images)
        assert (embedding.shape, logits.shape) == ((2, 2048), (2, 5))
    assert not any("aux" in name.lower() for name, _ in model.named_parameters())


@torch.no_grad()
def test_a_vit_of_transformers_with_its_own_preprocessing(vit):
    own = transformers.ViTForImageClassification.from_pretrained(vit).eval()
    images = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])[:, :, None, None]
    pixels = (images - mean) / std
    outputs = build(f"hf/{vit}", TEACHER).eval()(images)
    torch.testing.assert_close(outputs.logits, own(pixels).logits)
    tokens = own.vit(pixels).last_hidden_state
    torch.testing.assert_close(outputs.embedding, tokens[:, 0])
    mean_of_tokens = build(f"hf/{vit}?pooling=mean", TEACHER).eval()(images)
    torch.testing.assert_close(mean_of_tokens.embedding, tokens.mean(1))
    assert input_size(f"hf/{vit}") == 32
    larger = build(f"hf/{vit}?image_size=48", TEACHER).eval()
    assert larger(images).embedding.shape == (2, 32)
    with pytest.raises(ValueError, match="pooling is one of cls, mean, pooler; got max"):
        build(f"hf/{vit}?pooling=max", TEACHER)
    with pytest.raises(ValueError, match=r"has no weights for pooler\.dense"):
        build(f"hf/{vit}?pooling=pooler", TEACHER)


@pytest.mark.parametrize(
    ("saved", "pixels"),
    [
        ({}, lambda x: (x - 0.5) / 0.5),
        ({"do_rescale": False, "image_mean": [99.0] * 3, "image_std": [7.0] * 3},
         lambda x: (255 * x - 99) / 7),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
         lambda x: 2 * x - 1),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [2.0] * 3},
         lambda x: (2 * x - 1) / 2),
        ({"do_flip_channel_order": True}, lambda x: x),
    ],
)  # fmt: skip
@torch.no_grad()
def test_pixels_are_scaled_as_the_folder_says(saved, pixels, vit, tmp_path, capsys):
    folder = shutil.copytree(vit, tmp_path / "vit")
    (folder / "preprocessor_config.json").write_text(json.dumps(saved))
    images = torch.rand(2, 3, 32, 32)
    own = transformers.ViTForImageClassification.from_pretrained(vit).eval()
    capsys.readouterr()
    found = build(f"hf/{folder}", TEACHER).eval()(images).logits
    torch.testing.assert_close(found, own(pixels(images)).logits, atol=1e-5, rtol=1e-4)
    assert ("blue, green, red" in capsys.readouterr().err) == ("do_flip_channel_order" in saved)


@torch.no_grad()
def test_maps_and_two_towers(tmp_path):
    resnet = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    transformers.ResNetModel(resnet).save_pretrained(tmp_path / "resnet")
    images = torch.rand(2, 3, 32, 32)
    for pooling in ("pooler", "mean"):
        model = build(f"hf/{tmp_path / 'resnet'}?image_size=32&pooling={pooling}", STUDENT)
        assert model(images).logits.shape == (2, 5)
        assert model(images).embedding.shape == (2, 16)
    tower = {k: v for k, v in SMALL.items() if k not in ("image_size", "patch_size")}
    clip = transformers.CLIPConfig(text_config=tower, vision_config=SMALL, projection_dim=24)
    transformers.CLIPModel(clip).save_pretrained(tmp_path / "clip")
    assert build(f"hf/{tmp_path / 'clip'}", TEACHER)(images).embedding.shape == (2, 24)


@torch.no_grad()
def test_images_are_brought_to_a_models_own_size_and_channels(vit):
    model = build(f"hf/{vit}", TEACHER).eval()
    grey = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model(grey), model(grey.expand(-1, 3, -1, -1)))
    assert model(torch.rand(2, 3, 70, 50)).embedding.shape == (2, 32)
    flat = torch.full((1, 3, 70, 50), 0.3)
    torch.testing.assert_close(model(flat), model(flat[:, :, :32, :32]))
    # Antialiased: fine stripes come out grey.
    stripes = (torch.arange(256) % 2).float().expand(1, 3, 256, 256)
    torch.testing.assert_close(
        model(stripes), model(torch.full_like(stripes, 0.5)), atol=0.02, rtol=0
    )


def test_a_student_begins_with_the_weights_of_its_name(vit, tmp_path):
    student = build(f"hf/{vit}", STUDENT)
    own = transformers.ViTModel.from_pretrained(vit)
    name, weight = next(iter(own.named_parameters()))
    torch.testing.assert_close(student.state_dict()[f"module.module.{name}"], weight)
    model = build("timm/resnet18?pretrained=false&image_size=32&classes=4", TEACHER)
    assert model(torch.rand(2, 3, 32, 32)).logits.shape == (2, 4)
    save_file(model.module.module.state_dict(), tmp_path / "w.safetensors")
    name = f"timm/resnet18?pretrained=false&classes=4&weights={tmp_path / 'w.safetensors'}"
    again = build(name, TEACHER).eval()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again.module(images).logits, model.eval().module(images).logits)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet1", "timm has no model 'resnet1'.*did you mean"),
        ("timm/resnet18?pretrained=false&size=3", "timm/resnet18 takes no argument 'size'"),
        ("timm/resnet18", "timm/resnet18 could not be fetched: .*pretrained=false"),
        ("torchvision/resnet1", "torchvision has no classifier 'resnet1'"),
        ("torchvision/resnet18", "torchvision/resnet18 could not be fetched: .*pretrained=false"),
        ("torchvision/squeezenet1_0?pretrained=false", "has no linear classifier"),
        ("hf/no-one/nothing", "hf/no-one/nothing could not be fetched: .*name a local folder"),
        ("st/no-one/nothing", "takes texts, and the data are images"),
        ("hf/EMPTY", "hf/.* cannot be read"),
    ],
)
def test_says_what_is_wrong_in_one_sentence(name, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        build(name.replace("EMPTY", str(tmp_path)), TEACHER)
    assert "\n" not in str(caught.value)


def test_methods_that_compare_class_scores(vit, images, tmp_path):
    result = recipe.distill(
        f"hf/{vit}", f"timm/{TIMM[1]}?pretrained=false&image_size=32", ArraySource(images),
        method=KD(), out=tmp_path / "run", batch_size=8, limit_steps=1, validation_share=0.3,
    )  # fmt: skip
    assert asterism.load(result.run)(images[:2] / 255).logits.shape == (2, 7)


@pytest.mark.parametrize("name", ["lamb", "muon", "adamw"])
def test_an_optimiser_of_timm_goes_downhill(name):
    torch.manual_seed(0)
    network, x = (
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2)),
        torch.rand(32, 3, 4, 4),
    )
    optimizer = make_optimizer([network], Settings(optimizer=f"timm/{name}", lr=0.01))
    losses = []
    for _ in range(20):
        loss = (network(x) - x.mean((1, 2, 3))[:, None]).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match=rf"timm has no optimizer '{name}x' \(did you mean {name}"):
        make_optimizer([network], Settings(optimizer=f"timm/{name}x"))
