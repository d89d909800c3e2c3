"""Decode heads with a regularizer beside mmseg's own: what is regularized, what stays, in a cascade and in a stock config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import sar_cls.mm.seg  # noqa: F401
from sar_cls.mm.seg.heads import pixel_accuracy
from sar_cls.regularizers import Regularizer

C = 5
BN = dict(type="BN", requires_grad=True)
PYRAMID = dict(in_channels=[4, 6, 8, 10], in_index=[0, 1, 2, 3])
LAST = dict(in_channels=10, in_index=3)
# Constructor arguments of each head; D is its channels.
SETTINGS: dict[str, dict[str, Any]] = {
    "FCNHead": dict(LAST, channels=7, num_convs=1),
    "ASPPHead": dict(LAST, channels=7, dilations=(1, 2)),
    "OCRHead": dict(PYRAMID, input_transform="resize_concat", channels=8, ocr_channels=4),
    "SegformerHead": dict(PYRAMID, channels=7),
    "UPerHead": dict(PYRAMID, channels=7, pool_scales=(1, 2)),
    "PSPHead": dict(LAST, channels=7, pool_scales=(1, 2)),
    "DepthwiseSeparableASPPHead": dict(LAST, channels=7, dilations=(1, 2), c1_in_channels=4, c1_channels=3),
    "FPNHead": dict(in_channels=[4, 4, 4, 4], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=7),
}


def maps(head: str, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    channels = [4] * 4 if head == "FPNHead" else [4, 6, 8, 10]
    return [torch.randn(2, d, 16 // 2**i, 16 // 2**i, generator=generator) for i, d in enumerate(channels)]


def masks() -> Tensor:
    found = torch.randint(C, (2, 1, 64, 64), generator=torch.Generator().manual_seed(1))
    found[:, :, :, :9] = 255
    return found


def as_samples(found: Tensor) -> list[SegDataSample]:
    from mmengine.structures import PixelData

    samples = [SegDataSample() for _ in found]
    for sample, mask in zip(samples, found, strict=True):
        sample.gt_sem_seg = PixelData(data=mask)
    return samples


def build(name: str, **more: Any) -> nn.Module:
    # UPerHead's pooled maps of one pixel need running statistics, or more than one image: two are given.
    settings = SETTINGS[name.removeprefix("Regularized")]
    torch.manual_seed(3)
    with DefaultScope.overwrite_default_scope("mmseg"):
        head = MODELS.build(dict(settings, type=name, num_classes=C, norm_cfg=BN, dropout_ratio=0.5, **more))
        head.init_weights()
    return head


def losses(head: nn.Module, name: str, targets: Any) -> dict[str, Tensor]:
    torch.manual_seed(4)  # of the dropout
    previous = [torch.randn(2, C, 16, 16, generator=torch.Generator().manual_seed(2))] if "OCR" in name else []
    return head.loss(maps(name.removeprefix("Regularized")), *previous, targets, train_cfg=None)


class Spy(Regularizer):
    """Keeps what it is given."""

    def forward(self, features: Any, targets: Any, classifier: Any = None, sample_weights: Any = None) -> dict:
        self.seen = features, targets, classifier
        return {"loss_spy": features.square().mean()}


@pytest.mark.parametrize("head", SETTINGS)
def test_features_are_those_in_front_of_the_dropout(head: str) -> None:
    name = f"Regularized{head}"
    channels = SETTINGS[head]["channels"]
    made = build(name, regularizer=Spy(C, channels))
    before_dropout = []
    made.dropout.register_forward_pre_hook(lambda module, inputs: before_dropout.append(inputs[0]))
    found = losses(made, name, masks())
    features, targets, classifier = made.regularizer.seen
    assert features is before_dropout[0]
    assert features.shape[:2] == (2, channels)
    assert torch.equal(targets, masks().squeeze(1))
    assert classifier is made.conv_seg
    assert set(found) == {"loss_ce", "loss_spy", "acc_seg"}
    (found["loss_ce"] + found["loss_spy"]).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize("head", SETTINGS)
def test_beside_a_regularizer_the_head_is_the_plain_one(head: str) -> None:
    plain, made = build(head), build(f"Regularized{head}", regularizer=dict(type="SAR"))
    none = build(f"Regularized{head}")
    weights = plain.state_dict()
    assert {key: value for key, value in made.state_dict().items() if "regularizer" not in key}.keys() == weights.keys()
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in weights.items())
    assert none.state_dict().keys() == weights.keys()
    samples = as_samples(masks())
    expected = losses(plain, head, samples)
    for other in (made, none):
        got = losses(other, head, samples)
        assert torch.equal(got["loss_ce"], expected["loss_ce"])
    assert set(losses(made, head, samples)) == {"loss_ce", "loss_aux", "loss_anchor", "acc_seg"}


@pytest.mark.parametrize("classifier", [None, "disalign", "protoseg"])
@pytest.mark.parametrize("head", SETTINGS)
def test_scores_are_no_bfloat16(head: str, classifier: str | None) -> None:
    """Scores that differ by a thousandth would be equal in bfloat16, and class 0 win in place of class 3."""
    kind = None if classifier is None else dict(type=classifier)
    made: Any = build(f"Regularized{head}", classifier=kind).eval()
    last = made.conv_seg.norm if classifier == "protoseg" else made.conv_seg
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([1.0, 0.5, 0.0, 1.001, 0.2]))
    previous = [torch.zeros(2, C, 16, 16)] if "OCR" in head else []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores = made(maps(head), *previous)
        shown = made.predict_by_feat(scores, [dict(img_shape=(64, 64), pad_shape=(64, 64))])
    for found in (scores, shown):
        assert found.dtype == torch.float32
        assert (found.max(dim=1).indices == 3).all()


@pytest.mark.parametrize("head", SETTINGS)
def test_under_autocast_the_convolution_is_the_one_of_float32(head: str) -> None:
    made: Any = build(f"Regularized{head}").eval()
    seen: list[Tensor] = []
    made.dropout.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    previous = [torch.zeros(2, C, 16, 16)] if "OCR" in head else []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores = made(maps(head), *previous)
    weight, bias = made.conv_seg.weight.double(), made.conv_seg.bias.double()
    expected = torch.einsum("nchw,kc->nkhw", seen[0].double(), weight[:, :, 0, 0]) + bias[:, None, None]
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("ignore_index", [None, 255, 0])
def test_accuracy_is_mmseg_s(channels: int, ignore_index: int | None) -> None:
    from mmseg.models.losses import accuracy  # imports torchvision, which sar_cls.mm makes importable first

    generator = torch.Generator().manual_seed(channels)
    scores = torch.randn(2, channels, 6, 7, generator=generator)
    labels = torch.randint(max(channels, 2), (2, 6, 7), generator=generator)
    if ignore_index is not None:
        labels[:, 2:4] = ignore_index
    expected = accuracy(scores, labels, ignore_index=ignore_index)
    torch.testing.assert_close(pixel_accuracy(scores, labels, ignore_index), expected, rtol=1e-5, atol=1e-5)


def test_accuracy_without_a_labelled_pixel_is_0() -> None:
    assert pixel_accuracy(torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255), 255).tolist() == [0]


def test_several_losses_of_one_name_add_up_as_in_mmseg() -> None:
    two = [dict(type="CrossEntropyLoss", loss_weight=weight) for weight in (1.0, 0.5)]
    sampler = dict(type="OHEMPixelSampler", thresh=0.7, min_kept=50)
    for more in ({}, dict(sampler=sampler)):
        plain, made = (build(name, loss_decode=two, **more) for name in ("FCNHead", "RegularizedFCNHead"))
        expected, got = losses(plain, "FCNHead", as_samples(masks())), losses(made, "RegularizedFCNHead", masks())
        torch.testing.assert_close(got["loss_ce"], expected["loss_ce"])
    assert set(got) == {"loss_ce", "acc_seg"}


def test_losses_are_those_of_the_regularizer_on_the_feature_maps() -> None:
    made = build("RegularizedFCNHead", regularizer=dict(type="FixedAnchors", seed=1))
    features = []
    made.dropout.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    got = losses(made, "RegularizedFCNHead", masks())["loss_anchor"]
    # Row by row: mean over the pixels with a class, and channels, of the squared distance to the anchor (Eq. 4).
    total, count = 0.0, 0
    anchors = made.regularizer.class_anchors.double()
    height, width = features[0].shape[2:]
    for n in range(2):
        for i in range(height):
            for j in range(width):
                label = int(masks()[n, 0, i * 64 // height, j * 64 // width])
                if label != 255:
                    total += float((features[0][n, :, i, j].detach().double() - anchors[label]).square().mean())
                    count += 1
    assert float(got) == pytest.approx(made.regularizer.weight * total / count, rel=1e-5)


def test_a_tensor_of_masks_and_a_list_of_samples_are_the_same() -> None:
    made = build("RegularizedSegformerHead", regularizer=dict(type="CAR"))
    one, other = losses(made, "RegularizedSegformerHead", masks()), losses(made, "x", as_samples(masks()))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_nothing_of_it_runs_at_inference() -> None:
    made = build("RegularizedFCNHead", regularizer=Spy(C, 7)).eval()
    made(maps("FCNHead"))
    assert not hasattr(made.regularizer, "seen")
    assert made._features is None


def test_the_ignored_label_is_the_heads() -> None:
    made = build("RegularizedFCNHead", regularizer=dict(type="SAR"), ignore_index=200)
    assert made.regularizer.ignore_index == 200


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"regularizer": dict(type="SAAR")}, "unknown regularizer 'SAAR'"),
        ({"regularizer": dict(type="SAR", taw=1)}, "SAR has no argument 'taw'"),
    ],
)
def test_bad_regularizers_are_refused(more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("RegularizedFCNHead", **more)


def test_a_binary_head_with_one_output_is_refused() -> None:
    with pytest.raises(ValueError, match="1 output for 2 classes"), DefaultScope.overwrite_default_scope("mmseg"):
        MODELS.build(
            dict(
                SETTINGS["FCNHead"], type="RegularizedFCNHead", num_classes=2, out_channels=1, threshold=0.5,
                loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=True), regularizer=dict(type="SAR"),
            )
        )  # fmt: skip


README = """
_base_ = "mmseg::{base}.py"
model = dict(
    pretrained=None,
    backbone={backbone},
    decode_head={head},
)
"""


def tiny_resnet() -> str:
    return "dict(depth=18, base_channels=2, stem_channels=2)"


STOCK = {
    "fcn": (
        "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024",
        'dict(type="RegularizedFCNHead", regularizer=dict(type="SAR"), in_channels=16, channels=8)',
    ),
    "deeplabv3": (
        "deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024",
        'dict(type="RegularizedASPPHead", regularizer=dict(type="SAR"), in_channels=16, channels=8)',
    ),
}


@pytest.mark.parametrize("net", STOCK)
def test_a_stock_config_gets_it_by_one_type_and_one_entry(net: str, tmp_path: Path) -> None:
    """The README's example: the two changed entries, and a net small enough for a test."""
    base, head = STOCK[net]
    file = tmp_path / "net.py"
    file.write_text(README.format(base=base, backbone=tiny_resnet(), head=head))
    config = Config.fromfile(file).model
    config.auxiliary_head.update(in_channels=8, channels=4)
    config.data_preprocessor.size = (64, 64)
    for part in (config.backbone, config.decode_head, config.auxiliary_head):
        part.norm_cfg = BN  # SyncBN is for several processes
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(config)
    images = [torch.randint(256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    samples = as_samples(masks() % 19)
    for sample in samples:
        sample.set_metainfo({"img_shape": (64, 64), "ori_shape": (64, 64)})
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    found = model(**data, mode="loss")
    assert {"decode.loss_ce", "decode.loss_aux", "decode.loss_anchor", "aux.loss_ce"} <= set(found)
    total, _ = model.parse_losses(found)
    total.backward()
    assert model.decode_head.regularizer.embedding[0].weight.grad is not None
