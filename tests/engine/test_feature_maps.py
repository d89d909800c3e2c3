"""Heads and necks that do not fit their backbone: one sentence with what would fit, and none about those that do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from tiny_scenes import DENSE
from torch import Tensor, nn

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmseg.registry import MODELS

from sar_cls.engine.feature_maps import check_feature_maps
from sar_cls.engine.net_checks import check_net, first_backbone
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.errors import InputError
from sar_cls.suites.rows import Source

# The backbone of DENSE gives four maps, of 24, 32, 48 and 64 channels.
HEAD = "model['decode_head']"
AUXILIARY = "dict(type='RegularizedFCNHead', channels=8, num_classes=11, in_channels=48, in_index=2)"
FCN = f"{HEAD} = dict({AUXILIARY}, _delete_=True)\n"
DEEPLAB = (
    f"{HEAD} = dict(_delete_=True, type='RegularizedDepthwiseSeparableASPPHead', channels=8, num_classes=11, in_channels=64, "
    "in_index=3, dilations=(1, 2), c1_in_channels=24, c1_channels=4)\n"
)
NECK = "model['neck'] = dict(type='MultiLevelNeck', in_channels=[24, 32, 48, 64], out_channels=16)\n"


def check(tmp_path: Path, change: str) -> None:
    config = tmp_path / "row.py"
    config.write_text(f"{DENSE}{change}\n")
    check_net(resolve(Source(config), Options()))


@pytest.mark.parametrize(
    "change",
    [
        "",
        FCN,
        f"{FCN}{HEAD}.update(in_index=-2)",
        f"{FCN}{HEAD}.update(input_transform='resize_concat', in_channels=[24, 64], in_index=[0, 3])",
        f"model['auxiliary_head'] = [{AUXILIARY}, dict({AUXILIARY}, in_channels=24, in_index=0)]",
        # Counts are of data that are not read yet.
        f"{HEAD}['loss_decode'] = dict(_delete_=True, type='GeneralizedReweighting', class_counts=None)",
        DEEPLAB,
        f"{DEEPLAB}{HEAD}.update(c1_in_channels=0)",
        NECK + f"{HEAD}.update(in_channels=[16] * 4)",
    ],
)
def test_what_fits_is_taken(tmp_path: Path, change: str) -> None:
    check(tmp_path, change)


GIVES = "the backbone gives 4 feature maps, of 24, 32, 48 and 64 channels"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            f"{HEAD}.update(in_channels=[24, 32, 48, 65])",
            f"decode_head has in_channels [24, 32, 48, 65] and {GIVES}: with in_index [0, 1, 2, 3] give [24, 32, 48, 64]",
        ),
        (
            f"{HEAD}.update(in_index=[0, 1, 2, 4])",
            f"decode_head has in_index [0, 1, 2, 4] and {GIVES}: number them from 0 to 3",
        ),
        (f"{HEAD}.update(in_index=[1, 2, 3])", "decode_head: in_channels and in_index do not go together"),
        (f"{HEAD}.update(in_channels=64)", "decode_head: in_channels and in_index do not go together"),
        (f"{FCN}{HEAD}.update(in_channels=[48])", "decode_head: in_channels and in_index do not go together"),
        (f"{FCN}{HEAD}.update(in_index=3)", f"decode_head has in_channels 48 and {GIVES}: with in_index 3 give 64"),
        (f"{FCN}{HEAD}.update(in_index=-5)", f"decode_head has in_index -5 and {GIVES}: number them from 0 to 3"),
        (
            f"{FCN}{HEAD}.update(input_transform='resize_concat', in_channels=[64, 24], in_index=[0, 3])",
            f"decode_head has in_channels [64, 24] and {GIVES}: with in_index [0, 3] give [24, 64]",
        ),
        (
            f"model['auxiliary_head'] = dict({AUXILIARY}, in_index=1)",
            f"auxiliary_head has in_channels 48 and {GIVES}: with in_index 1 give 32",
        ),
        (f"{DEEPLAB}{HEAD}.update(c1_in_channels=32)", f"decode_head has c1_in_channels 32 and {GIVES}: give 24"),
        (f"{HEAD}.update(out_channels=7)", "decode_head: out_channels should be equal to num_classes"),
        (
            "model['backbone']['in_chans'] = 4",
            "the backbone does not take images of three channels; correct its arguments",
        ),
        (NECK, "the neck gives 4 feature maps, of 16, 16, 16 and 16 channels"),
        (
            NECK.replace("48, 64", "48, 65"),
            "the neck does not take the feature maps of the backbone, of 24, 32, 48 and 64 channels: correct its in_channels",
        ),
        (
            NECK.replace("48, 64]", "48]"),
            "the neck does not take the feature maps of the backbone, of 24, 32, 48 and 64 channels: correct its in_channels",
        ),
        ("model['neck'] = dict(type='MultiLevelNeck', in_channels=24, out_channels=16)", "neck: in_channels"),
    ],
)
def test_what_does_not_is_one_sentence(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        check(tmp_path, change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@MODELS.register_module(force=True)
class Peculiar(BaseModule):
    """A backbone of which nothing can be told from a small image: too small for it, or no list of maps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv = kind, nn.Conv2d(3, 4, 3)

    def forward(self, inputs: Tensor) -> object:
        if self.kind == "large" and min(inputs.shape[2:]) < 512:
            raise RuntimeError("Kernel size can't be greater than actual input size")
        maps = self.conv(inputs)
        return {"maps": maps, "vectors": [maps.mean(dim=(2, 3))]}.get(self.kind, (maps,))


@pytest.mark.parametrize("kind", ["large", "maps", "vectors"])
def test_a_backbone_that_tells_nothing_is_left_alone(tmp_path: Path, kind: str) -> None:
    check(tmp_path, f"model['backbone'] = dict(_delete_=True, type='Peculiar', kind='{kind}')")


def test_random_numbers_and_the_config_stay(tmp_path: Path) -> None:
    config = tmp_path / "row.py"
    config.write_text(DENSE)
    resolved = resolve(Source(config), Options())
    backbone, _ = first_backbone(resolved)
    state, text = torch.random.get_rng_state(), resolved.config.pretty_text
    check_feature_maps(resolved.config, resolved.source, backbone)
    assert torch.random.get_rng_state().equal(state)
    assert resolved.config.pretty_text == text
