"""A regularizer on a model: what it sees and when, and how the model is called, copied, stored and compiled."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sar_cls
from sar_cls import SAR
from sar_cls.errors import InputError
from sar_cls.models.attached_model import AttachedModel, attach

from .attached_nets import C, Net, Recorder


def test_equals_the_regularizer_called_by_hand(device):
    """The same losses and gradients as a training loop that takes the model apart itself."""
    torch.manual_seed(0)
    model = Net().to(device)
    model.body[3].p = 0.0
    regularizer = SAR(C, 6).to(device)
    by_hand, regularizer_by_hand = copy.deepcopy(model), copy.deepcopy(regularizer)
    inputs = torch.randn(8, 4, device=device)
    targets = torch.randn(8, C, device=device).softmax(1)
    logits, losses = attach(model, regularizer)(inputs, targets)
    features = by_hand.body(inputs)
    expected = regularizer_by_hand(features, targets, by_hand.last)
    torch.testing.assert_close(logits, by_hand.last(features))
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    (logits.sum() + sum(losses.values())).backward()
    (by_hand.last(features).sum() + sum(expected.values())).backward()
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_further_arguments_reach_the_regularizer():
    assert attach(Net(), SAR, aux_weight=0.25).regularizer.aux_weight == 0.25


def test_state_loads_into_the_original_and_back():
    attached = attach(Net(), SAR)
    with torch.no_grad():
        for parameter in attached.model.parameters():
            parameter.normal_()
    original = Net()
    original.load_state_dict(attached.export_state_dict(), strict=True)
    inputs = torch.randn(3, 4)
    assert torch.equal(original.eval()(inputs), attached.eval()(inputs))
    # A checkpoint of the whole keeps the regularizer's state as well.
    other = attach(Net(), SAR)
    other.load_state_dict(attached.state_dict(), strict=True)
    assert torch.equal(other.regularizer.class_anchors, attached.regularizer.class_anchors)


def test_mode_follows_the_model_and_evaluation_never_calls_the_regularizer():
    class Forbidden(nn.Module):
        def forward(self, *_args):
            raise AssertionError("called")

    model = Net().eval()
    attached = attach(model, Forbidden())
    assert not attached.training
    attached(torch.randn(2, 4))
    attached.train()
    assert model.training
    with pytest.raises(AssertionError, match="called"):
        attached(torch.randn(2, 4), torch.tensor([0, 1]))


def test_training_without_targets():
    with pytest.raises(ValueError, match=r"needs the targets: call model\(inputs, targets\)"):
        attach(Net(), SAR)(torch.randn(2, 4))


class LikeTransformers(Net):
    """Takes and returns what an image classifier of transformers does."""

    def forward(self, pixel_values=None, head_mask=None, labels=None, return_dict=None):
        logits = super().forward(pixel_values if head_mask is None else pixel_values * head_mask)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def test_keywords_of_the_model_reach_it():
    """A loop that calls ``model(**batch)``: the model gets its own labels, the regularizer too."""
    attached = attach(LikeTransformers(), Recorder())
    inputs, targets = torch.randn(4, 4), torch.tensor([0, 1, 2, 3])
    batch = {"pixel_values": inputs, "head_mask": torch.zeros(4, 4), "labels": targets}
    output, losses = attached(**batch)
    torch.testing.assert_close(attached.regularizer.logits, output["logits"])
    assert attached.regularizer.targets is targets
    torch.testing.assert_close(output["loss"], F.cross_entropy(output["logits"], targets))
    (output["loss"] + sum(losses.values())).backward()
    attached.eval()
    evaluated = attached(**batch)
    expected = attached.model(**batch)
    assert torch.equal(evaluated["loss"], expected["loss"])
    assert not torch.equal(evaluated["logits"], attached(inputs)["logits"])  # the mask has arrived


def test_labels_reach_a_model_that_was_compiled_first():
    attached = attach(torch.compile(LikeTransformers(), backend="eager"), Recorder())
    output, _ = attached(pixel_values=torch.randn(4, 4), labels=torch.tensor([0, 1, 2, 3]))
    assert output["loss"] is not None


def test_targets_by_position_or_by_name():
    """The same call in every form; a model without such an argument never sees the targets."""
    model = Net().eval()
    attached = attach(model, Recorder())
    attached.training = True  # the model itself stays in evaluation, so that every call computes the same
    inputs, targets = torch.randn(2, 4), torch.tensor([3, 1])
    calls = [((inputs, targets), {}), ((inputs,), {"targets": targets}), ((inputs,), {"labels": targets}), ((), {})]
    calls[-1] = ((), {"x": inputs, "labels": targets})
    for positional, named in calls:
        logits, losses = attached(*positional, **named)
        assert torch.equal(logits, model(inputs))
        assert set(losses) == {"loss_anchor"}
        assert attached.regularizer.targets is targets
    attached.eval()
    for positional, named in [*calls, ((inputs,), {}), ((inputs, None), {}), ((inputs, torch.eye(C)[targets]), {})]:
        assert torch.equal(attached(*positional, **named), model(inputs))


def test_two_inputs_by_position():
    class Masked(Net):
        def forward(self, x, mask):
            return super().forward(x * mask)

    model = Masked().eval()
    attached = attach(model, Recorder())
    inputs, mask, targets = torch.randn(2, 4), torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]]), torch.tensor([3, 1])
    # A mask must not be taken for the targets and dropped without a word.
    for training in (True, False):
        attached.training = training
        with pytest.raises(
            ValueError, match=r"taken for the targets, .* weights \[N, 5\].*: convert it, name the targets by targets="
        ):
            attached(inputs, mask)
    assert torch.equal(attached(inputs, mask, targets), model(inputs, mask))
    assert torch.equal(attached(inputs, mask=mask), model(inputs, mask))
    attached.training = True
    for logits, _ in (attached(inputs, mask, targets), attached(inputs, mask, labels=targets)):
        assert torch.equal(logits, model(inputs, mask))
        assert attached.regularizer.targets is targets
    with pytest.raises(ValueError, match="both targets= and labels= are given"):
        attached(inputs, mask, targets=targets, labels=targets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_auxiliary_gradient_can_be_kept_out_of_the_classifier(dtype):
    attached = attach(Net(), SAR, aux_to_classifier=False).to(dtype)
    _, losses = attached(torch.randn(8, 4, dtype=dtype), torch.arange(8) % C)
    losses["loss_aux"].backward()
    assert attached.model.last.weight.grad is None
    assert attached.regularizer.embedding[0].weight.grad.any()


def test_nothing_is_kept_alive_between_steps():
    attached = attach(Net(), Recorder())
    attached(torch.randn(2, 4), torch.tensor([0, 1]))
    assert attached._classifier_input.inputs == []


def test_copy_has_its_own_hook():
    """As an exponential moving average of the model makes it."""
    attached = attach(Net(), Recorder())
    copied = copy.deepcopy(attached)
    inputs, targets = torch.randn(2, 4), torch.tensor([0, 1])
    copied(inputs, targets)
    assert not hasattr(attached.regularizer, "features")
    torch.testing.assert_close(copied.regularizer.logits, copied.model.last(copied.regularizer.features))
    attached(inputs, targets)


def test_detach_takes_the_hook_off():
    model = Net()
    attached = attach(model, Recorder())
    assert len(model.last._forward_pre_hooks) == 1
    assert attached.detach() is model
    assert len(model.last._forward_pre_hooks) == 0


@pytest.mark.parametrize("regularizer", ["SAR", "CAR", "FixedAnchors"])
def test_compiles_in_one_graph(regularizer):
    """fullgraph=True raises at any break; the backend is the eager one, so that no compiler is needed."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    attached = attach(Net(), regularizer)
    attached.model.body[3].p = 0.0
    eager = copy.deepcopy(attached)
    compiled = torch.compile(attached, backend="eager", fullgraph=True)
    inputs, targets = torch.randn(8, 4), torch.arange(8) % C
    for _ in range(2):
        logits, losses = compiled(inputs, targets)
        expected_logits, expected = eager(inputs, targets)
        torch.testing.assert_close(logits, expected_logits)
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value)
    torch._dynamo.reset()


def test_attach_is_the_function_whatever_was_imported_first():
    assert sar_cls.attach is attach
    assert isinstance(sar_cls.attach(Net(), SAR), AttachedModel)


@pytest.mark.parametrize("training", [True, False])
def test_parts_that_are_frozen_in_evaluation_mode_stay_so(training):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).train(training)
    model[1].eval()
    attached = attach(model, "SAR")
    assert not model[1].training
    assert attached.training == model.training == attached.regularizer.training == training


def test_a_second_regularizer_is_refused():
    with pytest.raises(InputError, match=r"the model has a regularizer, SAR, already: take it off by model.detach\(\)"):
        attach(attach(Net(), SAR), "CAR")


@pytest.mark.parametrize(
    ("targets", "described"),
    [
        (F.one_hot(torch.tensor([0, 1]), C), "int64 [2, 5]"),
        (torch.tensor([0.0, 1.0]), "float32 [2]"),
        (torch.tensor([[0], [1]]), "int64 [2, 1]"),
        ([0, 1], "a list"),
    ],
)
def test_what_was_taken_for_the_targets_is_described(targets, described):
    with pytest.raises(ValueError, match="is taken for the targets") as error:
        attach(Net(), SAR)(torch.randn(2, 4), targets)
    assert f"it is {described}, neither class indices [N]" in str(error.value)


def test_targets_that_are_no_tensor():
    with pytest.raises(ValueError, match=r"SAR: targets are a ndarray: give a tensor, torch.as_tensor\(targets\)"):
        attach(Net(), SAR)(torch.randn(2, 4), targets=torch.tensor([0, 1]).numpy())


def test_it_shows_the_classifier_that_was_found():
    assert f"classifier='last', num_classes={C}, feat_dim=6" in repr(attach(Net(), SAR))
