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
from sar_cls.engine.trained import TrainedSegmentor
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
