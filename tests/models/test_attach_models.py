"""A regularizer on any model: those of libraries and of one's own, their classifiers, and what cannot be attached."""

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
from sar_cls.models.attached_model import attach
from sar_cls.models.classifiers import find_classifier
from sar_cls.models.library_backbones import import_timm
from sar_cls.torchvision_shim import import_torchvision

from .attached_nets import C, Net, Recorder

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


@pytest.mark.parametrize(
    "given",
    [SAR, "SAR", partial(SAR, aux_weight=0.5), lambda num_classes, feat_dim: SAR(num_classes, feat_dim)],
    ids=["class", "name", "partial", "function"],
)
def test_sizes_come_from_the_model(given):
    attached = attach(Net(feat_dim=7, num_classes=3), given)
    assert isinstance(attached.regularizer, SAR)
    assert (attached.regularizer.feat_dim, attached.regularizer.num_classes) == (7, 3)


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
