"""A regularizer on any model: what it sees, what it leaves alone."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sar_cls
from sar_cls import SAR
from sar_cls.errors import InputError
from sar_cls.models.attached_model import AttachedModel, attach
from sar_cls.models.classifiers import find_classifier
from sar_cls.models.library_backbones import import_timm
from sar_cls.torchvision_shim import import_torchvision

C = 5
# name: (arguments, side, classifier, D)
TIMM = {
    "resnet18": ({}, 32, "fc", 512),
    "resnet50": ({}, 32, "fc", 2048),
    "efficientnet_b0": ({}, 32, "classifier", 1280),
    "tf_efficientnet_lite0": ({}, 32, "classifier", 1280),
    "convnext_atto": ({}, 32, "head.fc", 320),
    "vit_tiny_patch16_224": ({"img_size": 32}, 32, "head", 192),
    "swin_tiny_patch4_window7_224": ({"img_size": 56}, 56, "head.fc", 768),
    "dla34": ({}, 32, "fc", 512),  # a 1x1 convolution
}
TORCHVISION = {"resnet18": ("fc", 512), "mobilenet_v2": ("classifier.1", 1280)}


class Recorder(nn.Module):
    """Stands for a regularizer: keeps what it was called with."""

    def forward(self, features: Tensor, targets: Tensor, classifier) -> dict[str, Tensor]:
        self.features, self.targets, self.logits = features, targets, classifier(features)
        return {"loss_anchor": features.square().mean()}


class Net(nn.Module):
    """A model of one's own, with batch norm and dropout."""

    def __init__(self, feat_dim: int = 6, num_classes: int = C, name: str = "last") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, feat_dim), nn.BatchNorm1d(feat_dim), nn.ReLU(), nn.Dropout(0.5))
        self.add_module(name, nn.Linear(feat_dim, num_classes))
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.name)(self.body(x))


def build(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    library, model_name = name.split(":")
    if library == "timm":
        kwargs, side, *_ = TIMM[model_name]
        model = import_timm().create_model(model_name, num_classes=C, **kwargs)
    else:
        side = 32
        model = import_torchvision().models.get_model(model_name, num_classes=C)
    return model, torch.randn(4, 3, side, side)


NAMES = [*(f"timm:{name}" for name in TIMM), *(f"torchvision:{name}" for name in TORCHVISION)]


@pytest.mark.parametrize("name", NAMES)
def test_any_model(name):
    """One pass: the features are what enters the classifier, the losses arrive, evaluation and state are the model's own."""
    model, inputs = build(name)
    library, model_name = name.split(":")
    wanted_name, wanted_dim = TIMM[model_name][2:] if library == "timm" else TORCHVISION[model_name]
    keys = list(model.state_dict())
    recorder = Recorder()
    attached = attach(model, recorder).train()
    found = find_classifier(model)
    assert (found.name, found.feat_dim, found.num_classes) == (wanted_name, wanted_dim, C)
    assert (attached.feat_dim, attached.num_classes) == (wanted_dim, C)

    targets = torch.tensor([0, 1, 2, 3])
    logits, losses = attached(inputs, targets)
    assert set(losses) == {"loss_anchor"}
    assert recorder.features.shape == (4, wanted_dim)
    torch.testing.assert_close(recorder.logits, logits)  # the classifier of these features gives these logits
    assert recorder.targets is targets
    losses["loss_anchor"].backward()  # the loss on the features alone reaches the first layer
    first = next(parameter for parameter in model.parameters() if parameter.ndim == 4)
    assert first.grad is not None
    assert first.grad.abs().sum() > 0

    model.eval()
    attached.eval()
    with torch.no_grad():
        assert torch.equal(attached(inputs), model(inputs))
        assert torch.equal(attached(inputs, targets), model(inputs))
    assert list(attached.export_state_dict()) == keys


@pytest.mark.parametrize("regularizer", sorted(sar_cls.REGULARIZERS))
def test_every_regularizer_trains(regularizer, device):
    torch.manual_seed(0)
    model = Net().to(device)
    attached = sar_cls.attach(model, regularizer)
    optimizer = torch.optim.SGD(attached.parameters(), lr=0.1)
    before = copy.deepcopy(attached.export_state_dict())
    inputs, targets = torch.randn(8, 4, device=device), torch.arange(8, device=device) % C
    for _ in range(3):
        logits, losses = attached(inputs, targets)
        assert all(name.startswith("loss_") and value.ndim == 0 for name, value in losses.items())
        optimizer.zero_grad()
        (F.cross_entropy(logits, targets) + sum(losses.values())).backward()
        optimizer.step()
    assert not torch.equal(before["last.weight"], model.last.weight)


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


@pytest.mark.parametrize(
    "given",
    [SAR, "SAR", partial(SAR, aux_weight=0.5), lambda num_classes, feat_dim: SAR(num_classes, feat_dim)],
    ids=["class", "name", "partial", "function"],
)
def test_sizes_come_from_the_model(given):
    attached = attach(Net(feat_dim=7, num_classes=3), given)
    assert isinstance(attached.regularizer, SAR)
    assert (attached.regularizer.feat_dim, attached.regularizer.num_classes) == (7, 3)


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
            ValueError, match=r"taken for the targets, .* weights \[N, 5\]: name the targets by targets="
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


@pytest.mark.parametrize("regularizer", sorted(sar_cls.REGULARIZERS))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_model_in_bfloat16_trains(regularizer, when, device):
    """All of it is converted; the losses are those of float32, and the classifier learns from them."""
    torch.manual_seed(0)
    model = Net().to(device)
    if when == "before":
        attached = attach(model.to(torch.bfloat16), regularizer)
    else:
        attached = attach(model, regularizer).to(torch.bfloat16)
    attached.model.body[3].p = 0.0
    inputs, targets = torch.randn(8, 4, device=device).bfloat16(), torch.arange(8, device=device) % C
    full = copy.deepcopy(attached)
    features = attached.model.body(inputs).detach()
    full.model.float()
    expected = full.regularizer(features.float(), targets, full.model.last)
    logits, losses = attached(inputs, targets)
    assert logits.dtype == torch.bfloat16
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name])
    if regularizer == "SAR":
        grads = torch.autograd.grad(sum(expected.values()), full.model.last.weight)
        ours = torch.autograd.grad(sum(losses.values()), attached.model.last.weight, retain_graph=True)
        assert ours[0].dtype == torch.bfloat16
        assert ours[0].any()
        assert torch.equal(ours[0], grads[0].bfloat16())
    (F.cross_entropy(logits.float(), targets) + sum(losses.values())).backward()
    torch.optim.SGD(attached.parameters(), lr=0.1).step()
    assert all(state.dtype != torch.bfloat16 for state in attached.regularizer.state_dict().values())
    assert all(parameter.dtype == torch.bfloat16 for parameter in attached.model.parameters())


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


def test_named_classifier():
    class TwoHeads(Net):
        def __init__(self):
            super().__init__()
            self.aux = nn.Linear(6, 3)

        def forward(self, x):
            features = self.body(x)
            return getattr(self, self.name)(features), self.aux(features)

    attached = attach(TwoHeads(), Recorder(), classifier="aux")
    assert attached.num_classes == 3
    (_, aux), _ = attached(torch.randn(2, 4), torch.tensor([0, 1]))
    torch.testing.assert_close(attached.regularizer.logits, aux)
    with pytest.raises(InputError, match=r"has no module 'fc': its linear layers are 'body\.0', 'last', 'aux'"):
        attach(TwoHeads(), Recorder(), classifier="fc")
    with pytest.raises(InputError, match=r"'body' in TwoHeads is followed by BatchNorm1d"):
        attach(TwoHeads(), Recorder(), classifier="body")
    with pytest.raises(InputError, match=r"'body\.2' in TwoHeads is a ReLU, not a linear layer"):
        attach(TwoHeads(), Recorder(), classifier="body.2")


def test_classifier_of_ones_own():
    """A cosine classifier is no nn.Linear, but has a weight [C, D]."""

    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(C, 6))

        def forward(self, x):
            return F.normalize(x, dim=-1) @ F.normalize(self.weight, dim=-1).T

    model = Net()
    model.last = Cosine()
    attached = attach(model, Recorder(), classifier="last")
    logits, _ = attached(torch.randn(2, 4), torch.tensor([0, 1]))
    torch.testing.assert_close(attached.regularizer.logits, logits)


def test_bad_input():
    with pytest.raises(InputError, match="unknown regularizer 'SARR': choose one of CAR"):
        attach(Net(), "SARR")
    with pytest.raises(
        InputError, match="SAR was built with num_classes=4, but the classifier 'last' of Net needs num_classes=5"
    ):
        attach(Net(), SAR(4, 6))
    with pytest.raises(InputError, match=r"SAR was built with feat_dim=9.* needs feat_dim=6"):
        attach(Net(), SAR(C, 9))
    with pytest.raises(InputError, match="aux_weight: arguments are for a regularizer given by class or name"):
        attach(Net(), SAR(C, 6), aux_weight=1.0)
    with pytest.raises(InputError, match=r"^SAR has no argument 'anchor_wight': did you mean 'anchor_weight'\?$"):
        attach(Net(), SAR, anchor_wight=1.0)
    with pytest.raises(
        InputError,
        match=r"^FixedAnchors has no argument 'zzz': it takes kind, weight, seed, ignore_index, class_names, superclasses$",
    ):
        attach(Net(), "FixedAnchors", zzz=1.0)
    with pytest.raises(InputError, match=r"^SAR gets feat_dim from the model: leave it out$"):
        attach(Net(), SAR, feat_dim=6)
    with pytest.raises(InputError, match="has no linear layer"):
        attach(nn.Sequential(nn.ReLU()), SAR)
    with pytest.raises(InputError, match="regularizer is a int"):
        attach(Net(), 3)
    with pytest.raises(InputError, match="built without a classifier"):
        attach(import_timm().create_model("resnet18", num_classes=0), SAR)


def test_classifier_that_is_not_called_once():
    class Twice(Net):
        def forward(self, x):
            return super().forward(x) + super().forward(x)

    class Never(Net):
        def forward(self, x):
            return self.body(x)

    targets = torch.tensor([0, 1])
    with pytest.raises(InputError, match="'last' was called 2 times"):
        attach(Twice(), Recorder())(torch.randn(2, 4), targets)
    with pytest.raises(InputError, match="'last' was called 0 times"):
        attach(Never(), Recorder())(torch.randn(2, 4), targets)


def test_attach_is_the_function_whatever_was_imported_first():
    assert sar_cls.attach is attach
    assert isinstance(sar_cls.attach(Net(), SAR), AttachedModel)
