"""ProtoSeg in mmseg's decode heads: what is classified, by what, and what is lost and moved in a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mm.seg.test_heads import SETTINGS, C, build, losses, maps, masks
from sar_cls.mm.seg import build_classifier
from sar_cls.models import ScoreCalibration
from sar_cls.regularizers.nearest_prototypes import NearestPrototypes

PROTOSEG = dict(type="protoseg", per_class=3, assignment="likeliest")


@pytest.mark.parametrize("head", SETTINGS)
def test_losses_and_movement_are_those_of_the_embedded_maps(head: str) -> None:
    name = f"Regularized{head}"
    made = build(name, classifier=PROTOSEG)
    twin = build(name, classifier=PROTOSEG)
    embedded, dropped = [], []
    made.embedding.register_forward_hook(lambda module, inputs, output: embedded.append(output))
    made.dropout.register_forward_hook(lambda module, inputs, output: dropped.append(output))
    made.embedding.register_forward_pre_hook(lambda module, inputs: dropped.append(inputs[0]))
    found = losses(made, name, masks())
    assert dropped[0] is dropped[1]  # behind the dropout, as published
    expected = twin.regularizer(embedded[0].detach(), masks().squeeze(1), twin.conv_seg)
    assert set(found) == {"loss_ce", "loss_ppc", "loss_ppd", "acc_seg"}
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)
    torch.testing.assert_close(made.conv_seg.prototypes, twin.conv_seg.prototypes)
    assert not torch.equal(made.conv_seg.prototypes, build(name, classifier=PROTOSEG).conv_seg.prototypes)

    start = build(name, classifier=PROTOSEG).conv_seg(embedded[0])
    scores = F.interpolate(start, size=(64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(
        found["loss_ce"],
        F.cross_entropy(scores, masks().squeeze(1), ignore_index=255, reduction="sum") / masks().numel(),
    )
    (found["loss_ce"] + found["loss_ppc"] + found["loss_ppd"]).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_at_inference_nothing_moves_and_nothing_is_kept() -> None:
    made = build("RegularizedFCNHead", classifier=PROTOSEG).eval()
    before = made.conv_seg.prototypes.clone()
    scores = made(maps("FCNHead"))
    assert scores.shape[1] == C
    assert torch.equal(made.conv_seg.prototypes, before)
    assert made._features is None


def test_it_starts_as_constructed_and_without_class_weights() -> None:
    made = build("RegularizedFCNHead", classifier=PROTOSEG)
    assert isinstance(made.conv_seg, NearestPrototypes)
    assert made.conv_seg.prototypes.shape == (C, 3, 7)
    assert torch.equal(made.conv_seg.norm.weight, torch.ones(C))
    assert torch.equal(made.embedding.norm.weight, torch.ones(7))
    assert not any(name.startswith("conv_seg.") and "norm" not in name for name, _ in made.named_parameters())
    assert build("RegularizedFCNHead", classifier=PROTOSEG, ignore_index=7).regularizer.ignore_index == 7


@pytest.mark.parametrize("head", SETTINGS)
def test_the_rest_of_the_head_and_what_is_drawn_after_it_is_as_without_it(head: str) -> None:
    def others(built: Any) -> dict[str, torch.Tensor]:
        own = ("conv_seg.", "embedding.", "regularizer.")
        return {key: value for key, value in built.state_dict().items() if not key.startswith(own)}

    plain = build(f"Regularized{head}")
    after = torch.rand(3)
    made = build(f"Regularized{head}", classifier=PROTOSEG)
    assert torch.equal(torch.rand(3), after)
    expected = others(plain)
    assert expected
    assert others(made).keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in others(made).items())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (dict(classifier=dict(type="protseg")), "unknown classifier 'protseg': choose one of disalign, protoseg"),
        (dict(classifier=dict(type="protoseg", momentun=0.9)), "no argument 'momentun': did you mean 'momentum'"),
        (dict(classifier=dict(type="protoseg", num_classes=4)), "gets num_classes from the model: leave it out"),
        (dict(classifier=dict(type="protoseg", ignore_index=4)), "gets ignore_index from the model: leave it out"),
        (dict(classifier=dict(type="protoseg", per_class=0)), "per_class is 0: give a whole number of at least 1"),
        (dict(classifier=dict(type="ProtoSeg")), "unknown classifier 'ProtoSeg': did you mean 'protoseg'"),
        (dict(classifier=dict(type="SAR")), r'SAR is no classifier: write regularizer=dict\(type="SAR"\)'),
        (dict(classifier="protoseg"), r'classifier is \'protoseg\': write one as dict\(type="protoseg"\)'),
        (dict(regularizer=dict(type="ProtoSeg")), r'in a decode head write classifier=dict\(type="protoseg"\)'),
        (dict(regularizer="SAR"), r'regularizer is \'SAR\': write one as dict\(type="SAR"\)'),
        (dict(regularizer=dict(type="SAR", ignore_index=9)), "gets ignore_index from the head: leave it out"),
        (dict(classifier=PROTOSEG, regularizer=dict(type="SAR")), "brings its own losses .* leave the regularizer out"),
        (dict(classifier=PROTOSEG, ignore_index=3), "ignore_index 3 of the head is one of its 5 classes"),
        (dict(regularizer=dict(type="SAR"), ignore_index=3), "ignore_index 3 of the head is one of its 5 classes"),
    ],
)
def test_bad_arguments_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("RegularizedFCNHead", **more)


def test_no_classifier_and_disalign() -> None:
    assert build_classifier(None, 3, 4) is None
    assert isinstance(build_classifier(dict(type="disalign", confidence="normalized"), 3, 4), ScoreCalibration)
