"""What would train something else than is meant is refused by `attach` or in the first step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sar_cls.errors import InputError
from sar_cls.models.attached_model import attach

INPUTS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(6) % 5


class Net(nn.Module):
    def __init__(self, use_reentrant: bool | None = None, around: str = "all") -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(8, 16), nn.Linear(16, 5)
        self.use_reentrant, self.around = use_reentrant, around

    def forward(self, x: Tensor) -> Tensor:
        if self.use_reentrant is None:
            return self.fc(self.body(x))
        if self.around == "body":
            return self.fc(checkpoint(self.body, x, use_reentrant=self.use_reentrant))
        return checkpoint(lambda x: self.fc(self.body(x)), x, use_reentrant=self.use_reentrant)


def gradients(net: nn.Module, inputs: Tensor) -> list[Tensor]:
    torch.manual_seed(0)  # of the embedding
    output, losses = attach(net, "SAR")(inputs, TARGETS)
    (output.square().mean() + sum(losses.values())).backward()
    return [parameter.grad for parameter in net.parameters()]


class TestCheckpoints:
    def test_a_classifier_whose_features_get_no_gradient_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"'fc' is called where no gradient is recorded.*use_reentrant=False"):
            attach(Net(use_reentrant=True), "CenterLoss")(INPUTS.clone().requires_grad_(), TARGETS)

    @pytest.mark.parametrize(("use_reentrant", "around"), [(False, "all"), (False, "body"), (True, "body")])
    def test_others_have_the_gradients_of_none(self, use_reentrant: bool, around: str) -> None:
        plain = Net()
        other = Net(use_reentrant, around)
        other.load_state_dict(plain.state_dict())
        inputs = INPUTS.clone().requires_grad_()
        for one, two in zip(gradients(plain, inputs), gradients(other, inputs), strict=True):
            torch.testing.assert_close(one, two)

    def test_without_gradients_nothing_is_refused(self) -> None:
        with torch.no_grad():
            attach(Net(), "SAR")(INPUTS, TARGETS)


def test_a_replaced_classifier_and_a_detached_model_say_so() -> None:
    attached = attach(Net(), "SAR")
    attached.model.fc = nn.Linear(16, 5)
    with pytest.raises(InputError, match=r"'fc' is another layer now .*attach it anew"):
        attached(INPUTS, TARGETS)
    attached = attach(Net(), "SAR")
    attached.detach()
    with pytest.raises(InputError, match=r"detach\(\) took the regularizer off"):
        attached(INPUTS, TARGETS)


def test_a_model_without_memory() -> None:
    with torch.device("meta"):
        net = Net()
    with pytest.raises(InputError, match="Net is on the device meta"):
        attach(net, "SAR")


def test_a_lazy_classifier_has_no_shape_yet() -> None:
    net = Net()
    net.fc = nn.LazyLinear(5)
    with pytest.raises(InputError, match="'fc' of Net has no shape yet: run the model on one batch first"):
        attach(net, "SAR")
    net(INPUTS)
    assert attach(net, "SAR").feat_dim == 16


def test_threads_of_data_parallel() -> None:
    with pytest.raises(InputError, match=r"torch.nn.DataParallel would mix up the features of Net: use Distributed"):
        attach(Net(), "SAR")._replicate_for_data_parallel()


class TestDistributedDataParallel:
    @pytest.fixture(autouse=True)
    def group(self, tmp_path: Any) -> Any:
        if not torch.distributed.is_available():
            pytest.skip("needs torch.distributed")
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
        yield
        torch.distributed.destroy_process_group()

    def test_a_regularizer_that_is_trained_is_to_be_wrapped_too(self) -> None:
        wrapped = nn.parallel.DistributedDataParallel(Net())
        with pytest.raises(InputError, match="SAR is trained and would not be the same in all processes: wrap both"):
            attach(wrapped, "SAR")
        attach(wrapped, "FixedAnchors")(INPUTS, TARGETS)
        nn.parallel.DistributedDataParallel(attach(Net(), "SAR"))(INPUTS, TARGETS)


def test_a_linear_layer_of_pixels_is_no_classifier_of_maps() -> None:
    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.fc = nn.Conv2d(3, 16, 1), nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.body(x).permute(0, 2, 3, 1))

    masks = torch.zeros(2, 16, 16, dtype=torch.int64)
    with pytest.raises(InputError, match="a model for segmentation whose classifier is a 1x1 convolution"):
        attach(ChannelsLast(), "CenterLoss", classifier="fc")(torch.randn(2, 3, 16, 16), targets=masks)


def test_what_only_resizes_may_follow_a_classifier_that_is_named() -> None:
    class Upsampled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 6, 1)
            self.head = nn.Sequential(nn.Conv2d(6, 5, 1), nn.Upsample(scale_factor=2))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x))

    with pytest.raises(InputError, match=r"followed by Upsample.*if it does no more than resize.*classifier='head.0'"):
        attach(Upsampled(), "SAR")
    masks = torch.zeros(2, 8, 8, dtype=torch.int64)
    output, _ = attach(Upsampled(), "SAR", classifier="head.0")(torch.randn(2, 3, 4, 4), masks)
    assert output.shape == (2, 5, 8, 8)
