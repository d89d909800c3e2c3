"""Pre-trained weights: every layout into every kind of model, and nothing silently."""

from __future__ import annotations

import builtins
import copy
import pickle
import re

import pytest
import torch
from torch import nn

from sar_cls import SAR
from sar_cls.errors import InputError
from sar_cls.models.attached_model import attach
from sar_cls.models.library_backbones import build_backbone
from sar_cls.torchvision_shim import import_torchvision
from sar_cls.weights import load_weights
from sar_cls.weights.load import check_weight_source

from .state_files import as_mmpretrain, assert_loaded, randomised, refuses, timm_resnet18

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


@pytest.mark.parametrize(
    "source",
    ["missing.pth", "folder/missing", ".", "resnet19", "timm:resnet19", "timm:resnet18.nobody", "torchvision:resnet19"],
)
def test_a_missing_file_or_name_is_found_out_without_a_model(source: str) -> None:
    with pytest.raises(InputError) as error:
        check_weight_source(source)
    refuses(timm_resnet18(), source, re.escape(str(error.value)))


@pytest.mark.parametrize("source", ["resnet18", "timm:resnet18", "torchvision:resnet18", "https://example.org/net.pth"])
def test_published_weights_are_left_to_the_run(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("timm_state", "torchvision_state", "address_state"):
        monkeypatch.setattr(f"sar_cls.weights.sources.{name}", lambda *_: pytest.fail("something was fetched"))
    check_weight_source(source)
