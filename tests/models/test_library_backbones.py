"""timm and torchvision models by name: what enters the classifier."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sar_cls.errors import InputError
from sar_cls.models import library_backbones as backbones
from sar_cls.models.library_backbones import build_backbone

# name: (arguments, side of a small image, D)
MODELS = {
    "timm:resnet18": ({}, 32, 512),
    "timm:resnet50": ({}, 32, 2048),
    "timm:efficientnet_b0": ({}, 32, 1280),
    "timm:tf_efficientnet_lite0": ({}, 32, 1280),
    "timm:convnext_atto": ({}, 32, 320),
    "timm:vit_tiny_patch16_224": ({"img_size": 32}, 32, 192),
    "timm:swin_tiny_patch4_window7_224": ({"img_size": 56}, 56, 768),
    "timm:mobilenetv3_small_050": ({}, 32, 1024),  # layers between pooling and classifier
    "timm:caformer_s18": ({}, 32, 2048),  # an MLP head, whose last layer is the classifier
    "timm:dla34": ({}, 32, 512),  # a 1x1 convolution as classifier
    "torchvision:resnet18": ({}, 32, 512),
    "torchvision:mobilenet_v2": ({}, 32, 1280),  # dropout before the classifier
}


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    kwargs, side, feat_dim = MODELS[request.param]
    torch.manual_seed(0)
    return build_backbone(request.param, 5, **kwargs).eval(), torch.randn(2, 3, side, side), feat_dim


@torch.no_grad()
def test_classifier_of_features_is_the_model(case):
    backbone, inputs, feat_dim = case
    features = backbone.features(inputs)
    assert features.shape == (2, feat_dim) == (2, backbone.feat_dim)
    logits = backbone(inputs)
    assert logits.shape == (2, 5) == (2, backbone.num_classes)
    torch.testing.assert_close(backbone.classifier(features), logits)
    torch.testing.assert_close(logits, backbone.model(inputs))


@torch.no_grad()
def test_classifier_takes_any_leading_shape(case):
    backbone, _, feat_dim = case
    features = torch.randn(3, 2, feat_dim)
    logits = backbone.classifier(features)
    assert logits.shape == (3, 2, 5)
    weight, bias = backbone.classifier.module.weight.flatten(1), backbone.classifier.module.bias
    torch.testing.assert_close(logits, torch.einsum("abd,cd->abc", features, weight) + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", ["timm:resnet18", "timm:vit_tiny_patch16_224", "torchvision:mobilenet_v2"])
def test_without_classifier(spec):
    kwargs, side, feat_dim = MODELS[spec]
    backbone = build_backbone(spec, 0, **kwargs).eval()
    with torch.no_grad():
        inputs = torch.randn(2, 3, side, side)
        assert backbone.features(inputs).shape == backbone(inputs).shape == (2, feat_dim)
    assert (backbone.feat_dim, backbone.num_classes) == (feat_dim, 0)
    with pytest.raises(InputError, match="without a classifier"):
        _ = backbone.classifier


def test_gradients_reach_the_backbone_through_the_features(device):
    backbone = build_backbone("torchvision:resnet18", 5).to(device)
    backbone.features(torch.randn(2, 3, 32, 32, device=device)).sum().backward()
    assert backbone.model.conv1.weight.grad.abs().sum() > 0
    assert backbone.model.fc.weight.grad is None


@pytest.mark.parametrize(
    ("spec", "mean", "std", "size", "fixed"),
    [
        ("timm:resnet18", 123.675, 58.395, 224, False),
        ("timm:tf_efficientnet_lite0", 127.5, 127.5, 224, False),
        ("timm:vit_tiny_patch16_224", 127.5, 127.5, 224, True),
        ("torchvision:resnet18", 123.675, 58.395, 224, False),
    ],
)
def test_each_model_has_its_own_preprocessing(spec, mean, std, size, fixed):
    backbone = build_backbone(spec, 5)
    assert backbone.mean[0] == pytest.approx(mean)
    assert backbone.std[0] == pytest.approx(std)
    assert len(backbone.mean) == len(backbone.std) == 3
    assert (backbone.input_size, backbone.fixed_input_size) == ((size, size), fixed)


def test_asked_image_size_is_the_input_size():
    assert build_backbone("timm:vit_tiny_patch16_224", 5, img_size=32).input_size == (32, 32)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:resnet19", "timm has no model 'resnet19': did you mean resnet18"),
        ("timm:zzzzzzzzzzzz", r"timm has no model 'zzzzzzzzzzzz': see its list_models\(\)"),
        ("timm:resnet18.nobody", "could not build 'resnet18.nobody'"),
        ("torchvision:resnett18", "torchvision has no classification model 'resnett18': did you mean resnet18"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no classification model"),
        ("resnet18", "unknown backbone 'resnet18': write timm:NAME"),
        ("keras:resnet18", "unknown backbone"),
        ("timm:", "unknown backbone"),
        ("timm:deit_tiny_distilled_patch16_224", "has 2 classifiers"),
        ("torchvision:squeezenet1_1", "followed by ReLU"),
    ],
)
def test_bad_names_and_models(spec, message):
    with pytest.raises(InputError, match=message):
        build_backbone(spec, 5)


def test_bad_arguments():
    with pytest.raises(InputError, match=r"could not build 'resnet18' with .*img_size"):
        build_backbone("timm:resnet18", 5, img_size=32)
    with pytest.raises(InputError, match=r"could not build 'resnet18' with .*img_size"):
        build_backbone("torchvision:resnet18", 5, img_size=32)
    with pytest.raises(InputError, match="num_classes is -1"):
        build_backbone("timm:resnet18", -1)


def test_pretrained_goes_through_load_weights(monkeypatch):
    from sar_cls import weights

    loaded = []
    monkeypatch.setattr(weights, "load_weights", lambda module, source: loaded.append((module, source)))
    backbone = build_backbone("timm:resnet18", 5, pretrained=True)
    assert loaded == [(backbone, "timm:resnet18")]


def test_features_that_are_no_vector_are_an_error():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 5)

        def forward(self, x):  # [N, T, D] enters the classifier, the mean is taken behind it
            return self.fc(x).mean(1)

    model = Pooled()
    backbone = backbones.Backbone(
        model,
        "own",
        classifier=backbones.find_classifier(model),
        feat_dim=4,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        input_size=(1, 1),
    )
    with pytest.raises(InputError, match=r"shape \[2, 3, 4\] enters the classifier 'fc' where \[N, 4\] is needed"):
        backbone.features(torch.randn(2, 3, 4))
