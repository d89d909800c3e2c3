"""A loaded segmentation net that was trained by mmseg's pipelines prepares images as mmseg's own preprocessor does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import sar_cls.mm.seg  # noqa: F401
from sar_cls.engine.trained import TrainedSegmentor, _build
from sar_cls.mm.handover import Handover

SIZE = (40, 48)
WHOLE, SLIDE = dict(mode="whole"), dict(mode="slide", crop_size=(32, 32), stride=(16, 16))


@pytest.mark.parametrize("test_cfg", [WHOLE, SLIDE], ids=["whole", "slide"])
@pytest.mark.parametrize("bgr_to_rgb", [True, False])
def test_it_prepares_images_as_mmseg_does(test_cfg: dict[str, Any], bgr_to_rgb: bool) -> None:
    config: dict[str, Any] = dict(
        backbone=dict(type="LibraryPyramid", name="timm:test_efficientnet"),
        data_preprocessor=dict(
            type="SegDataPreProcessor",
            mean=[120.0, 110.0, 90.0],
            std=[50.0, 60.0, 70.0],
            bgr_to_rgb=bgr_to_rgb,
            size=(32, 32),
        ),
    )
    head = dict(
        type="FCNHead",
        in_channels=64,
        in_index=3,
        channels=6,
        num_convs=1,
        num_classes=5,
        norm_cfg=dict(type="BN", requires_grad=True),
    )
    handover = Handover(
        dataset={"name": "ade20k"},
        neck=None,
        num_classes=5,
        in_channels=6,
        segmentor=dict(type="EncoderDecoder", decode_head=head, test_cfg=test_cfg),
        **config,
    )
    assert handover._problem() is None
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        net = MODELS.build(ConfigDict(config, **handover.segmentor))
    model = TrainedSegmentor(net, handover)
    images = torch.randint(256, (2, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    as_read = [image.flip(2).permute(2, 0, 1) for image in images]  # blue, green, red, as OpenCV reads them
    meta = dict(img_shape=SIZE, ori_shape=SIZE)
    samples = [SegDataSample(metainfo=dict(meta)) for _ in images]
    data = net.data_preprocessor(dict(inputs=as_read, data_samples=samples), False)
    with torch.inference_mode():
        metas = [dict(meta, pad_shape=SIZE, padding_size=[0] * 4) for _ in images]
        expected = net.inference(data["inputs"], metas)
        found = model(images)
    assert found.shape == (2, 5, *SIZE)
    torch.testing.assert_close(found, expected)
    labels, _ = model.segment(images)
    assert torch.equal(labels, expected.argmax(dim=1))


def test_a_cascade_is_built_from_what_a_run_leaves_of_it() -> None:
    """Its heads alone; mmseg wants their number as well. The files of earlier runs hold no more either."""
    heads = [
        dict(type="FCNHead", num_convs=1, concat_input=False),
        dict(type="RegularizedOCRHead", ocr_channels=4),
    ]
    inputs = dict(in_channels=[48, 64], in_index=[2, 3], input_transform="resize_concat", channels=6, num_classes=5)
    handover = Handover(
        dataset={"name": "ade20k"},
        backbone=dict(type="LibraryPyramid", name="timm:test_efficientnet"),
        neck=None,
        num_classes=5,
        in_channels=6,
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[120.0] * 3, std=[60.0] * 3, size=(32, 32)),
        segmentor=dict(
            type="CascadeEncoderDecoder",
            decode_head=[dict(head, norm_cfg=dict(type="BN"), **inputs) for head in heads],
            test_cfg=WHOLE,
        ),
    )
    assert handover._problem() is None
    with DefaultScope.overwrite_default_scope("mmseg"):
        net: Any = MODELS.build(
            ConfigDict(
                handover.segmentor,
                num_stages=2,
                backbone=handover.backbone,
                data_preprocessor=handover.data_preprocessor,
            )
        )
    model = _build(handover, net.state_dict(), "a run", None)
    net.eval()
    images = torch.randint(256, (2, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    inputs_ = (images.flip(3).permute(0, 3, 1, 2).float() - 120) / 60
    metas = [dict(img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, padding_size=[0] * 4) for _ in images]
    with torch.inference_mode():
        torch.testing.assert_close(model(images), net.inference(inputs_, metas))
