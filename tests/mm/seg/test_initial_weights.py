"""Initial weights of decode heads with prototypes in place of their convolution: which rules hold, and for what."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mm.seg.test_classifiers import PROTOSEG
from mm.seg.test_heads import C, build
from sar_cls.mm.seg.initial_weights import without_convolution


def test_rules_for_initial_weights_that_do_not_name_the_convolution_hold() -> None:
    rule = dict(
        type="Constant", val=0.5, layer="Conv2d", override=[dict(type="Normal", std=1.0, name="conv_seg")], bias=0.25
    )
    made = build("RegularizedFCNHead", classifier=PROTOSEG, init_cfg=rule)
    for convolution in (made.convs[0].conv, made.embedding.projection[0]):
        assert torch.equal(convolution.weight, torch.full_like(convolution.weight, 0.5))
    assert torch.equal(made.conv_seg.norm.weight, torch.ones(C))


@pytest.mark.parametrize(
    ("given", "rest", "own"),
    [
        (None, [], []),
        (
            dict(type="Normal", std=0.01, override=dict(name="conv_seg")),
            [],
            [dict(type="Normal", std=0.01, override=[dict(name="conv_seg")])],
        ),
        (
            [dict(type="A", layer="Conv2d", override=[dict(name="conv_seg"), dict(name="x")]), dict(type="B")],
            [dict(type="A", layer="Conv2d", override=[dict(name="x")]), dict(type="B")],
            [dict(type="A", override=[dict(name="conv_seg")])],
        ),
        (dict(type="A", override=dict(name="x")), [dict(type="A", override=[dict(name="x")])], []),
    ],
)
def test_rules_are_parted_by_what_they_name(given: Any, rest: list[Any], own: list[Any]) -> None:
    assert without_convolution(given) == (rest, own)
