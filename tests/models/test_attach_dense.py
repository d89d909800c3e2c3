"""attach() on nets for segmentation: torchvision's own, and the others' where installed and as stand-ins of their layout."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sar_cls
from sar_cls import SAR
from sar_cls.errors import InputError
from sar_cls.models.attached_model import attach
from sar_cls.models.classifiers import find_classifier
from sar_cls.torchvision_shim import import_torchvision

C = 5


class Recorder(nn.Module):
    """Stands for a regularizer: keeps what it was called with."""

    def forward(self, features: Tensor, targets: Tensor, classifier: Any) -> dict[str, Tensor]:
        self.features, self.targets, self.classifier = features, targets, classifier
        return {"loss_anchor": features.square().mean()}


# Stand-ins with the module layout of the libraries' heads, small, and with a decoy where a wrong layer could be taken.


class Mmseg(nn.Module):
    """An EncoderDecoder: ``decode_head.conv_seg`` behind ``decode_head.dropout``, an auxiliary head after it."""

    class Head(nn.Module):
        def __init__(self, dropout_ratio: float = 0.1) -> None:
            super().__init__()
            self.conv_seg = nn.Conv2d(8, C, kernel_size=1)
            self.dropout = nn.Dropout2d(dropout_ratio) if dropout_ratio > 0 else None
            self.convs = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            features = self.convs(x)
            return self.conv_seg(features if self.dropout is None else self.dropout(features))

    def __init__(self, dropout_ratio: float = 0.1) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Dropout2d(0.2))
        self.decode_head = self.Head(dropout_ratio)
        self.auxiliary_head = self.Head()

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        if self.training:
            self.auxiliary_head(features)
        return self.decode_head(features)


class Transformers(nn.Module):
    """SegformerForSemanticSegmentation: linear layers in the backbone, ``decode_head.classifier`` behind a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.segformer = nn.Sequential(nn.Conv2d(3, 6, 2, stride=2), nn.ReLU())
        self.decode_head = nn.Module()
        self.decode_head.linear_fuse = nn.Conv2d(6, 8, 1)
        self.decode_head.dropout = nn.Dropout(0.3)
        self.decode_head.classifier = nn.Conv2d(8, C, 1)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor | None]:
        head = self.decode_head
        logits = head.classifier(head.dropout(head.linear_fuse(self.segformer(pixel_values)).relu()))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(F.interpolate(logits, labels.shape[-2:]), labels, ignore_index=255)
        return {"loss": loss, "logits": logits}


class Smp(nn.Module):
    """A model of segmentation-models-pytorch: dropout in place at the decoder's end, ``segmentation_head.0``, upsampling."""

    def __init__(self, kernel_size: int = 1, inplace: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 2, stride=2), nn.ReLU())
        self.decoder = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Dropout2d(0.4, inplace=inplace))
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(8, C, kernel_size, padding=kernel_size // 2),
            nn.UpsamplingBilinear2d(scale_factor=2),
            nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.segmentation_head(self.decoder(self.encoder(x)))


def torchvision_fcn() -> nn.Module:
    import_torchvision()
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 32, 2, stride=2)

        def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
            return OrderedDict(out=self.layer(x), aux=self.layer(x))

    return FCN(Body(), FCNHead(32, C), FCNHead(32, C))


# name: (model, path of the classifier, D, module in front of whose dropout the features are)
NETS: dict[str, tuple[Any, str, int, str | None]] = {
    "torchvision FCN": (torchvision_fcn, "classifier.4", 8, "classifier.3"),
    "mmseg": (Mmseg, "decode_head.conv_seg", 8, "decode_head.dropout"),
    "mmseg without dropout": (lambda: Mmseg(0.0), "decode_head.conv_seg", 8, None),
    "transformers": (Transformers, "decode_head.classifier", 8, "decode_head.dropout"),
    "smp": (lambda: Smp(inplace=False), "segmentation_head.0", 8, "decoder.1"),
    "smp, in place": (Smp, "segmentation_head.0", 8, "decoder.1"),
}
all_nets = pytest.mark.parametrize("name", NETS)


def build(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = NETS[name][0]()
    labels = torch.randint(C, (2, 16, 16))
    labels[:, :4] = 255
    return model, torch.randn(2, 3, 16, 16), labels


@all_nets
def test_the_classifier_is_found_and_features_are_before_the_dropout(name: str) -> None:
    model, images, labels = build(name)
    _, path, feat_dim, dropout = NETS[name]
    found = find_classifier(model)
    assert (found.name, found.feat_dim, found.num_classes) == (path, feat_dim, C)

    seen: dict[str, Tensor] = {}
    if dropout is not None:
        model.get_submodule(dropout).register_forward_pre_hook(lambda m, args: seen.update(before=args[0].clone()))
    model.get_submodule(path).register_forward_pre_hook(lambda m, args: seen.update(entered=args[0].clone()))
    recorder = Recorder()
    attached = attach(model, recorder).train()
    _, losses = attached(images, labels)
    assert recorder.targets is labels
    assert recorder.features.shape == (2, feat_dim, 8, 8)
    assert torch.equal(recorder.features, seen["entered" if dropout is None else "before"])
    if dropout is not None:
        assert not torch.equal(seen["before"], seen["entered"])
    vectors = torch.randn(4, feat_dim)
    torch.testing.assert_close(recorder.classifier(vectors), found(vectors))
    losses["loss_anchor"].backward()
    first = next(p for p in model.parameters() if p.ndim == 4)
    assert first.grad is not None
    assert first.grad.any()

    attached.eval()
    with torch.no_grad():
        ours, own = attached(images, labels), model.eval()(images)
    for a, b in zip(*(list(out.values()) if isinstance(out, dict) else [out] for out in (ours, own)), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    assert len(attached._classifier_input.inputs) == 0
    attached.detach()
    assert all(not m._forward_hooks for m in model.modules())


@all_nets
@pytest.mark.parametrize("regularizer", sorted(sar_cls.REGULARIZERS))
def test_every_regularizer_trains(name: str, regularizer: str) -> None:
    model, images, labels = build(name)
    attached = attach(model, regularizer).train()
    output, losses = attached(images, labels)
    logits = output if isinstance(output, Tensor) else output.get("logits", output.get("out"))
    loss = F.cross_entropy(F.interpolate(logits, (16, 16)), labels, ignore_index=255) + sum(losses.values())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in attached.parameters() if p.grad is not None)


def test_equals_the_regularizer_called_by_hand() -> None:
    model, images, labels = build("mmseg without dropout")
    model.backbone[1].p = 0.0
    regularizer = SAR(C, 8, embedding="linear+conv", delta=1e-9)
    twin, twin_regularizer = copy.deepcopy(model), copy.deepcopy(regularizer)
    _, losses = attach(model, regularizer)(images, labels)
    features = twin.decode_head.convs(twin.backbone(images))
    expected = twin_regularizer(features, labels, twin.decode_head.conv_seg)
    assert all(torch.equal(losses[key], expected[key]) for key in expected)
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad)
    assert model.decode_head.conv_seg.weight.grad.any()


def test_labels_by_name_reach_the_model_too() -> None:
    model, images, labels = build("transformers")
    output, losses = attach(model, "SAR")(pixel_values=images, labels=labels)
    (output["loss"] + sum(losses.values())).backward()
    assert model.decode_head.classifier.weight.grad is not None


def test_soft_labels_by_position() -> None:
    model, images, labels = build("mmseg")
    soft = F.one_hot(labels.clamp(max=C - 1), C).permute(0, 3, 1, 2).float()
    recorder = Recorder()
    attach(model, recorder)(images, soft)
    assert recorder.targets is soft


def test_labels_of_images_keep_the_dropout() -> None:
    """A 1x1 convolution behind pooling and dropout is a classifier of images: features are what enters it, as ever."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.drop, self.fc = nn.Conv2d(3, 8, 2), nn.Dropout(0.5), nn.Conv2d(8, C, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.drop(self.body(x).mean(dim=(2, 3), keepdim=True))).flatten(1)

    torch.manual_seed(0)
    recorder = Recorder()
    logits, _ = attach(Pooled(), recorder)(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]))
    assert recorder.features.shape == (4, 8)
    torch.testing.assert_close(recorder.classifier(recorder.features), logits)
    assert (recorder.features == 0).any()


def test_compiles_in_one_graph() -> None:
    torch._dynamo.reset()
    model, images, labels = build("mmseg")
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    attached = attach(model, "SAR")
    compiled = torch.compile(copy.deepcopy(attached), backend="eager", fullgraph=True)
    for _ in range(2):
        _, expected = attached(images, labels)
        _, losses = compiled(images, labels)
        for key in expected:
            torch.testing.assert_close(losses[key], expected[key])
    torch._dynamo.reset()


def test_the_feature_map_before_the_dropout_when_compiled() -> None:
    torch._dynamo.reset()

    class Norm(nn.Module):
        def forward(self, features: Tensor, targets: Tensor, classifier: Any) -> dict[str, Tensor]:
            return {"loss_anchor": features.square().mean()}

    model, images, labels = build("mmseg")
    model.backbone[1].p, model.decode_head.dropout.p = 0.0, 0.9  # behind it, most of the features would be 0
    attached = attach(model, Norm())
    compiled = torch.compile(copy.deepcopy(attached), backend="eager", fullgraph=True)
    expected = attached(images, labels)[1]["loss_anchor"]
    torch.testing.assert_close(compiled(images, labels)[1]["loss_anchor"], expected)
    torch._dynamo.reset()


# The libraries themselves


def test_torchvision_deeplab() -> None:
    model = import_torchvision().models.get_model(
        "deeplabv3_mobilenet_v3_large", weights_backbone=None, num_classes=C, aux_loss=True
    )
    assert find_classifier(model).name == "classifier.4"
    recorder = Recorder()
    output, _ = attach(model, recorder).train()(torch.randn(2, 3, 32, 32), torch.zeros(2, 32, 32).long())
    assert set(output) == {"out", "aux"}
    assert recorder.features.shape == (2, 256, 2, 2)


def test_transformers_segformer() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import_torchvision()
    config = transformers.SegformerConfig(
        num_labels=C, depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=16
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    assert find_classifier(model).name == "decode_head.classifier"
    seen = []
    model.decode_head.dropout.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    recorder = Recorder()
    attached = attach(model, recorder).train()
    output, _ = attached(pixel_values=torch.randn(2, 3, 32, 32), labels=torch.randint(C, (2, 32, 32)))
    assert torch.isfinite(output.loss)
    assert torch.equal(recorder.features, seen[0])
    assert recorder.features.shape == (2, 16, 8, 8)


@pytest.mark.parametrize(
    ("kind", "arguments"), [("FPN", {}), ("DeepLabV3Plus", {}), ("Segformer", {}), ("Unet", None)], ids=str
)
def test_segmentation_models_pytorch(kind: str, arguments: dict[str, Any] | None) -> None:
    import_torchvision()
    smp = pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    model = getattr(smp, kind)("resnet18", encoder_weights=None, classes=C)
    if arguments is None:
        with pytest.raises(InputError, match=r"'segmentation_head\.0' of Unet is a 3x3 convolution"):
            attach(model, "SAR")
        return
    assert find_classifier(model).name == "segmentation_head.0"
    recorder = Recorder()
    logits, _ = attach(model, recorder).train()(torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64).long())
    assert recorder.features.shape[:2] == (2, find_classifier(model).feat_dim)
    assert logits.shape == (2, C, 64, 64)


# Bad input


def test_a_classifier_that_is_not_1x1() -> None:
    message = (
        r"'segmentation_head\.0' of Smp is a 3x3 convolution, and only one of 1x1 .*: build the model with such a head"
    )
    with pytest.raises(InputError, match=message):
        attach(Smp(kernel_size=3), "SAR")


def test_two_classifiers() -> None:
    model = import_torchvision().models.get_model("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=C)
    with pytest.raises(InputError, match="adds up the logits of two classifiers"):
        attach(model, "SAR")


def test_targets_that_do_not_fit() -> None:
    model, images, labels = build("mmseg")
    attached = attach(model, "SAR")
    with pytest.raises(
        ValueError, match=r"nor those of pixels \[N, h, w\] or \[N, 5, h, w\]: convert it, name the targets by"
    ):
        attached(images, torch.zeros(2, 16))
    with pytest.raises(InputError, match=r"or give a model of feature maps the labels \[N, h, w\] of its pixels"):
        attached(images, torch.tensor([0, 1]))
    linear = attach(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, C)), "SAR")
    with pytest.raises(InputError, match=r"where maps \[N, 768, H, W\] are needed: give a model for segmentation"):
        linear(images, targets=labels)
    with pytest.raises(ValueError, match="from 0 to 4, or 255 for none"):
        attached(images, labels.masked_fill(labels == 255, 254))
