"""The ways to run a training step beside each other: the eager one is the measure of the others."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS, OPTIM_WRAPPERS
from torch import Tensor, nn

import sar_cls.mm  # noqa: F401
from sar_cls.data import DeviceLoader, ImageSet
from sar_cls.mm.head import RegularizedLinearClsHead
from sar_cls.regularizers import REGULARIZERS, Regularizer
from sar_cls.steps.captured import WARM_UP, GraphStep
from sar_cls.steps.modes import DEFAULT_MODE, MODES, build_step
from sar_cls.steps.step import CompiledStep, EagerStep

C, BATCH = 5, 8


class BranchOnValue(Regularizer):
    """What the contract forbids: a branch on the value of a tensor."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        norm = features.square().mean()
        return {"loss_norm": norm if norm.item() > 1 else 0.5 * norm}


class FailsInCapture(Regularizer):
    """Waits for the device where the warm-up does not see it."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        norm = features.square().mean()
        if torch.cuda.is_current_stream_capturing():
            norm.item()
        return {"loss_norm": norm}


class Counting(Regularizer):
    """State outside of tensors: a recorded step would not follow it."""

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__(num_classes, feat_dim)
        self.calls = 0

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        self.calls += 1
        return {"loss_norm": features.square().mean() * self.calls}


class Rebinding(Regularizer):
    """A buffer that is replaced instead of written in place."""

    centre: Tensor

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__(num_classes, feat_dim)
        self.register_buffer("centre", torch.zeros(feat_dim))

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        loss = (features - self.centre).square().mean()
        self.centre = 0.9 * self.centre + 0.1 * features.detach().mean(dim=0)
        return {"loss_norm": loss}


def build_model(regularizer: Any = None, *, mixup: bool = True, seed: int = 3) -> Any:
    torch.manual_seed(seed)
    config = dict(
        type="mmpretrain.ImageClassifier",
        backbone=dict(type="CIFARResNet", depth=8),
        head=dict(
            type="RegularizedLinearClsHead",
            num_classes=C,
            in_channels=64,
            loss=dict(type="CrossEntropyLoss", **({"use_soft": True} if mixup else {})),
            regularizer=regularizer,
        ),
        data_preprocessor=dict(
            type="BatchPreprocessor",
            mean=[120.0] * 3,
            std=[60.0] * 3,
            padding=1,
            flip=0.5,
            **(dict(mixup_alpha=1.0, num_classes=C) if mixup else {}),
        ),
    )
    model = MODELS.build(config)
    assert isinstance(model.head, RegularizedLinearClsHead)
    return model.to(memory_format=torch.channels_last).train()


def build_optimizer(model: nn.Module, precision: str = "fp32", fused: bool | None = None, **more: Any) -> OptimWrapper:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True, fused=fused)
    return OPTIM_WRAPPERS.build(dict(type="AutocastOptimWrapper", optimizer=optimizer, precision=precision, **more))


def build_loader(model: Any, num_samples: int = 3 * BATCH + 3, device: torch.device | str = "cpu") -> DeviceLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (num_samples, 8, 8, 3), generator=generator, dtype=torch.uint8)
    labels = torch.arange(num_samples) % C
    images = images // 2 + (labels * 25).to(torch.uint8)[:, None, None, None]
    image_set = ImageSet(images, labels, tuple("abcde"), name="random", split="train").to(torch.device(device))
    return DeviceLoader(image_set, BATCH, draw=model.data_preprocessor.draw)


def rates(step: int) -> float:
    """A schedule that changes at some steps and stays at others."""
    return 0.125 * 0.5 ** (step // 3)  # exact in float32, in which a graph holds it


def train(step: EagerStep, loader: DeviceLoader, epochs: int = 3) -> list[dict[str, float]]:
    """Trains with a schedule by steps and returns each epoch's mean losses."""
    means, done = [], 0
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        loader.set_epoch(epoch)
        step.model.train()
        step.begin_epoch()
        for batch in loader:
            for group in step.optim_wrapper.optimizer.param_groups:
                group["lr"] = rates(done)
            step(batch)
            done += 1
        means.append(step.means())
    return means


def state_of(step: EagerStep) -> dict[str, Tensor]:
    state = {f"model.{name}": value for name, value in step.model.state_dict().items()}
    momentum = step.optim_wrapper.optimizer.state.values()
    return state | {f"momentum.{i}": entry["momentum_buffer"] for i, entry in enumerate(momentum)}


def assert_same(step: EagerStep, expected: EagerStep, *, exactly: bool, tolerance: float = 1e-4) -> None:
    got, wanted = state_of(step), state_of(expected)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        if exactly:
            assert torch.equal(got[name], value), name
        else:
            torch.testing.assert_close(got[name], value, rtol=tolerance, atol=tolerance, msg=name)


def eager(regularizer: Any = None, *, device: torch.device | str = "cpu", epochs: int = 3, **parts: Any) -> Any:
    """An eagerly trained model and its losses."""
    precision, fused = parts.pop("precision", "fp32"), parts.pop("fused", torch.device(device).type == "cuda")
    model = build_model(regularizer, **parts).to(device)
    # A graph takes the fused kernel: beside another one every step would differ by a rounding.
    step = EagerStep(model, build_optimizer(model, precision, fused=fused or None))
    return step, train(step, build_loader(model, device=device), epochs)


class TestEager:
    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    def test_is_train_step_to_the_bit(self, name: str) -> None:
        """Against a loop written out: train_step, and the losses summed as separate tensors."""
        regularizer = None if name == "none" else dict(type=name)
        step, means = eager(regularizer)
        model = build_model(regularizer)
        optim_wrapper, loader, done = build_optimizer(model), build_loader(model), 0
        for epoch in range(3):
            torch.manual_seed(epoch)
            loader.set_epoch(epoch)
            sums: dict[str, Tensor] = {}
            for batch in loader:
                optim_wrapper.optimizer.param_groups[0]["lr"] = rates(done)
                losses = model.train_step(batch, optim_wrapper)
                sums = {key: sums.get(key, torch.zeros(())) + value.detach() for key, value in losses.items()}
                done += 1
            assert means[epoch] == {key: float(value / len(loader)) for key, value in sums.items()}
        assert_same(step, EagerStep(model, optim_wrapper), exactly=True)

    def test_means_start_anew_with_an_epoch(self) -> None:
        model = build_model()
        step, loader = EagerStep(model, build_optimizer(model)), build_loader(model)
        step.begin_epoch()
        assert step.means() == {}
        step(next(iter(loader)))
        assert set(step.means()) == {"loss"}
        step.begin_epoch()
        assert step.means() == {}


class TestCompiled:
    @pytest.mark.parametrize("name", ["SAR", "CAR"])
    def test_equals_eager(self, name: str) -> None:
        expected, expected_means = eager(dict(type=name))
        model, said = build_model(dict(type=name)), []
        step = CompiledStep(model, build_optimizer(model), BATCH, backend="aot_eager", say=said.append)
        means = train(step, build_loader(model))
        assert said == []
        assert step.mode == "compile"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert_same(step, expected, exactly=False, tolerance=1e-3)

    def test_compiles_once_for_the_full_batches(self) -> None:
        calls = []

        def backend(module: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable:
            calls.append(len(inputs))
            return module.forward

        model = build_model(dict(type="SAR"))
        step = CompiledStep(model, build_optimizer(model), BATCH, backend=backend)  # type: ignore[arg-type]
        train(step, build_loader(model))
        assert len(calls) == 1

    def test_a_branch_on_values_falls_back_with_one_line(self) -> None:
        expected, expected_means = eager(BranchOnValue(C, 64))
        model, said = build_model(BranchOnValue(C, 64)), []
        step = CompiledStep(model, build_optimizer(model), BATCH, backend="aot_eager", say=said.append)
        assert train(step, build_loader(model)) == expected_means
        assert step.mode == "eager"
        assert len(said) == 1
        assert said[0].startswith("training eagerly: ")
        assert "\n" not in said[0]
        assert_same(step, expected, exactly=True)

    def test_an_error_of_the_compiled_backward_pass_leaves_no_trace(self) -> None:
        """The buffers have moved by then: batch norm's statistics, SAR's anchors."""

        class Breaking(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                return x.clone()

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:
                raise RuntimeError("no kernel for this")

        expected, expected_means = eager(dict(type="SAR"))
        model, said = build_model(dict(type="SAR")), []
        step = CompiledStep(model, build_optimizer(model), BATCH, backend="eager", say=said.append)
        compiled = step._losses_of
        step._losses_of = lambda batch: {key: Breaking.apply(value) for key, value in compiled(batch).items()}
        assert train(step, build_loader(model)) == expected_means
        assert len(said) == 1
        assert "no kernel for this" in said[0]
        assert_same(step, expected, exactly=True)


class CopyingRecorder:
    """Behaves as a CUDA graph does: recording computes nothing, a replay reads and writes the recorded tensors."""

    def __init__(self, waits: list[str] | None = None) -> None:
        self.waits = waits or []
        self.warm_ups = self.records = self.replays = 0
        self.step: EagerStep

    def warm_up(self, step: Callable[[], None]) -> list[str]:
        self.warm_ups += 1
        step()
        return self.waits

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        self.records += 1
        tensors = [*self._tensors()]
        before = [tensor.clone() for tensor in tensors]
        try:
            step()
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)

        def replay() -> None:
            self.replays += 1
            step()

        return replay

    def _tensors(self) -> list[Tensor]:
        total = self.step.meter.total
        assert total is not None
        momentum = [entry["momentum_buffer"] for entry in self.step.optim_wrapper.optimizer.state.values()]
        return [*self.step.model.parameters(), *self.step.model.buffers(), *momentum, total]


def recorded(
    regularizer: Any = None, waits: list[str] | None = None, **parts: Any
) -> tuple[GraphStep, CopyingRecorder, list[str], Any]:
    model, said = build_model(regularizer, **parts), []
    recorder = CopyingRecorder(waits)
    step = GraphStep(EagerStep(model, build_optimizer(model)), BATCH, say=said.append, recorder=recorder)
    recorder.step = step
    return step, recorder, said, model


class TestGraphWithoutADevice:
    """All of a captured step but CUDA itself."""

    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    def test_follows_batches_and_schedule(self, name: str) -> None:
        regularizer = None if name == "none" else dict(type=name)
        expected, expected_means = eager(regularizer, fused=True)
        step, recorder, said, model = recorded(regularizer)
        means = train(step, build_loader(model))
        # 3 epochs of 3 full batches and a smaller one: 3 warm-up steps, then 6 from the recording.
        assert (recorder.warm_ups, recorder.records, recorder.replays) == (WARM_UP, 1, 6)
        assert said == []
        assert step.mode == "cudagraph"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert_same(step, expected, exactly=False)
        assert step.optim_wrapper._inner_count == expected.optim_wrapper._inner_count

    def test_parameter_groups_keep_plain_numbers(self) -> None:
        step, _, _, model = recorded()
        before = copy.deepcopy(step.optim_wrapper.optimizer.state_dict()["param_groups"])
        train(step, build_loader(model))
        after = step.optim_wrapper.optimizer.state_dict()["param_groups"]
        assert [{**group, "lr": 0.1} for group in after] == before
        assert type(after[0]["lr"]) is float

    def test_moved_state_and_changed_settings_are_recorded_anew(self) -> None:
        step, recorder, _, model = recorded(dict(type="SAR"))
        loader = build_loader(model)
        train(step, loader, epochs=2)
        assert recorder.records == 1
        model.head.regularizer.momentum = 0.5  # baked into a recording
        train(step, loader, epochs=1)
        assert recorder.records == 2
        step.optim_wrapper.optimizer.param_groups[0]["weight_decay"] = 0.0
        train(step, loader, epochs=1)
        assert recorder.records == 3
        step.optim_wrapper.load_state_dict(copy.deepcopy(step.optim_wrapper.state_dict()))  # new momentum tensors
        train(step, loader, epochs=1)
        assert recorder.records == 4

    def test_training_and_evaluation_in_turn_is_recorded_once(self) -> None:
        step, recorder, _, model = recorded()
        loader = build_loader(model)
        for _ in range(3):
            train(step, loader, epochs=1)
            model.eval()
        assert recorder.records == 1

    @pytest.mark.parametrize("regularizer", [Counting, Rebinding])
    def test_state_outside_of_fixed_tensors_falls_back(self, regularizer: type[Regularizer]) -> None:
        expected, expected_means = eager(regularizer(C, 64))
        step, recorder, said, model = recorded(regularizer(C, 64))
        means = train(step, build_loader(model))
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4)
        assert recorder.replays == 0
        assert step.mode == "eager"
        assert len(said) == 1
        assert said[0].startswith("training without a CUDA graph: ")
        assert_same(step, expected, exactly=False)

    def test_a_step_that_waits_is_not_recorded(self) -> None:
        expected, expected_means = eager(BranchOnValue(C, 64))
        step, recorder, said, model = recorded(BranchOnValue(C, 64), waits=["my_loss.py, line 7"])
        means = train(step, build_loader(model))
        assert recorder.records == 0
        assert said == [
            "training without a CUDA graph: the step cannot be captured (it waits for the device at my_loss.py, line 7)"
        ]
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4)
        assert_same(step, expected, exactly=False)

    def test_an_error_in_the_capture_leaves_no_trace(self) -> None:
        step, recorder, said, model = recorded(dict(type="SAR"))
        expected, expected_means = eager(dict(type="SAR"))

        def failing(run: Callable[[], None]) -> Callable[[], None]:
            CopyingRecorder.record(recorder, run)
            try:
                raise RuntimeError("operation not permitted when stream is capturing")
            finally:
                raise RuntimeError("the capture was invalidated")

        recorder.record = failing  # type: ignore[method-assign]
        means = train(step, build_loader(model))
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert len(said) == 1
        assert "not permitted when stream is capturing" in said[0]
        assert_same(step, expected, exactly=False)


class TestModes:
    def test_the_default_is_a_mode(self) -> None:
        assert DEFAULT_MODE in MODES

    def test_a_graph_on_the_cpu_is_said_to_be_impossible(self) -> None:
        model, said = build_model(), []
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph", say=said.append)
        assert type(step) is EagerStep
        assert said == ["training eagerly, not in mode cudagraph: a CUDA graph needs a CUDA device, this is cpu"]

    def test_eager_and_compile(self) -> None:
        model, said = build_model(), []
        assert type(build_step(model, build_optimizer(model), BATCH, "eager", say=said.append)) is EagerStep
        assert type(build_step(model, build_optimizer(model), BATCH, "compile", say=said.append)) is CompiledStep
        assert said == []

    def test_gradient_accumulation_stays_eager(self) -> None:
        model, said = build_model(), []
        optim_wrapper = build_optimizer(model, accumulative_counts=2)
        assert type(build_step(model, optim_wrapper, BATCH, "compile", say=said.append)) is EagerStep
        assert len(said) == 1

    def test_unknown_mode(self) -> None:
        model = build_model()
        with pytest.raises(ValueError, match="eager, compile, cudagraph"):
            build_step(model, build_optimizer(model), BATCH, "jit")
        assert len(MODES) == 3


@pytest.mark.cuda
class TestOnCuda:
    @pytest.fixture(autouse=True)
    def exact(self) -> Any:
        """TF32 and autotuned convolutions would make two eager runs differ already."""
        matmul = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
        torch.backends.cuda.matmul.allow_tf32 = matmul

    def test_a_capture_that_fails_leaves_the_stream_as_it_was(self) -> None:
        stream = torch.cuda.current_stream()
        _, expected_means = eager(FailsInCapture(C, 64), device="cuda")
        model, said = build_model(FailsInCapture(C, 64)).cuda(), []
        step = build_step(model, build_optimizer(model, fused=True), BATCH, "cudagraph", say=said.append)
        means = train(step, build_loader(model, device="cuda"))
        assert len(said) == 1
        assert step.mode == "eager"
        assert torch.cuda.current_stream() == stream
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-3)

    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_no_step_waits_for_the_device(self, name: str, precision: str) -> None:
        model = build_model(None if name == "none" else dict(type=name)).cuda()
        loader = build_loader(model, device="cuda")
        for step in (
            EagerStep(model, build_optimizer(model, precision)),
            build_step(model, build_optimizer(model, precision), BATCH, "cudagraph"),
        ):
            train(step, loader, epochs=2)  # kernels chosen, graph recorded
            step.begin_epoch()
            batches = list(loader)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for number, batch in enumerate(batches):
                    step.optim_wrapper.optimizer.param_groups[0]["lr"] = 0.01 / (number + 1)
                    step(batch)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.parametrize("name", ["none", *sorted(REGULARIZERS)])
    def test_graph_equals_eager(self, name: str) -> None:
        """Learning rate and mixup's lambda change from step to step, and the last batch of an epoch is smaller."""
        regularizer = None if name == "none" else dict(type=name)
        expected, expected_means = eager(regularizer, device="cuda", epochs=4)
        model, said = build_model(regularizer).cuda(), []
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph", say=said.append)
        means = train(step, build_loader(model, device="cuda"), epochs=4)
        assert said == []
        assert step.mode == "cudagraph"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-3, abs=1e-5)
        assert_same(step, expected, exactly=False, tolerance=1e-3)

    def test_bf16_weights_move_under_a_graph(self) -> None:
        """A cast of the weights that was cached once would train on the first weights for ever."""
        _, expected_means = eager(device="cuda", epochs=4, precision="bf16")
        model = build_model().cuda()
        step = build_step(model, build_optimizer(model, "bf16"), BATCH, "cudagraph")
        means = train(step, build_loader(model, device="cuda"), epochs=4)
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=0.05)

    def test_a_wait_is_found_before_the_capture(self) -> None:
        _, expected_means = eager(BranchOnValue(C, 64), device="cuda")
        model, said = build_model(BranchOnValue(C, 64)).cuda(), []
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph", say=said.append)
        means = train(step, build_loader(model, device="cuda"))
        assert len(said) == 1
        assert "waits for the device" in said[0]
        assert step.mode == "eager"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-3)

    def test_evaluation_between_replays_sees_the_weights(self) -> None:
        from sar_cls.mm.loops import predict

        model = build_model().cuda()
        step = build_step(model, build_optimizer(model), BATCH, "cudagraph")
        loader = build_loader(model, device="cuda")
        test = DeviceLoader(loader.image_set, BATCH)
        outputs = []
        for _ in range(4):
            train(step, loader, epochs=1)
            outputs.append(predict(model, test, "fp32"))
        assert all(not torch.equal(first, second) for first, second in itertools.pairwise(outputs))

    def test_compiled_and_captured(self) -> None:
        _, expected_means = eager(dict(type="SAR"), device="cuda", epochs=4)
        model, said = build_model(dict(type="SAR")).cuda(), []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step = build_step(model, build_optimizer(model), BATCH, "compile", say=said.append)
            means = train(step, build_loader(model, device="cuda"), epochs=4)
        assert said == []
        assert step.mode == "compile+cudagraph"
        for got, wanted in zip(means, expected_means, strict=True):
            assert got == pytest.approx(wanted, rel=1e-2, abs=1e-4)
