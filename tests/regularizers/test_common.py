"""What every regularizer promises: the contract of ``Regularizer``, checked for each method and its options."""

from __future__ import annotations

import copy
import doctest
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sar_cls
import sar_cls.regularizers.sar
from sar_cls import CAR, REGULARIZERS, SAR, CenterLoss, Regularizer

from .test_sar import nearest_anchor_classifier

NUM_CLASSES, FEAT_DIM, NUM_SAMPLES = 5, 6, 8

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "SAR open": ("SAR", {"delta": 0.01, "momentum": 0.9}),
    "SAR closed": ("SAR", {"delta": 1.0}),
    "SAR per class": ("SAR", {"gate": "per_class", "delta": 0.4, "grad_through_weights": False}),
    "SAR warming up": ("SAR", {"delta": 0.01, "aux_warmup": 2}),
    "CAR": ("CAR", {}),
    "CAR absent as zero": ("CAR", {"absent_as_zero": True}),
    "CAR running, linear": ("CAR", {"running_centers": True, "linear_layer": True}),
    "FixedAnchors": ("FixedAnchors", {"kind": "simplex"}),
    "CenterLoss": ("CenterLoss", {}),
    "INC": ("INC", {}),
    "SupCon": ("SupCon", {}),
    "SupCon, no projection": ("SupCon", {"projection": None}),
}
all_cases = pytest.mark.parametrize("case", CASES)


def build(case: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> tuple[Regularizer, nn.Linear]:
    torch.manual_seed(0)
    name, arguments = CASES[case]
    module = REGULARIZERS[name](NUM_CLASSES, FEAT_DIM, **arguments).to(device, dtype)
    if isinstance(module, SAR):
        return module, nearest_anchor_classifier(module, 0.2)
    return module, nn.Linear(FEAT_DIM, NUM_CLASSES).to(device, dtype)


def draw_batch(device: torch.device | str, seed: int = 0, soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(NUM_SAMPLES, FEAT_DIM, generator=generator)
    targets = torch.randint(NUM_CLASSES - 1, (NUM_SAMPLES,), generator=generator)  # the last class is absent
    if soft:
        one_hot = torch.eye(NUM_CLASSES)[targets]
        targets = 0.4 * one_hot + 0.6 * one_hot.flip(0)
    return features.to(device), targets.to(device)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and all buffers, the unsaved ones too."""
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def step(
    module: Regularizer, classifier: nn.Module, features: Tensor, targets: Tensor, autocast: bool = False
) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    """Losses, and gradients of their sum for the features, the classifier and the module's parameters."""
    features = features.detach().requires_grad_()
    with torch.autocast(features.device.type, dtype=torch.bfloat16, enabled=autocast):
        losses = module(features, targets, classifier)
    inputs = [features, *classifier.parameters(), *module.parameters()]
    total = torch.stack(list(losses.values())).sum()
    return losses, list(torch.autograd.grad(total, inputs, allow_unused=True))


# Registry


def test_registry_names_are_class_names() -> None:
    assert set(REGULARIZERS) == {"SAR", "CAR", "FixedAnchors", "CenterLoss", "INC", "SupCon"}
    for name, kind in REGULARIZERS.items():
        assert kind.__name__ == name
        assert issubclass(kind, Regularizer)
        assert getattr(sar_cls, name) is kind
    assert {name for name, _ in CASES.values()} == set(REGULARIZERS)


def test_a_new_method_is_one_method() -> None:
    class FeatureNorm(Regularizer):
        def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
            return {"loss_norm": features.square().mean()}

    features, targets = draw_batch("cpu")
    losses = FeatureNorm(NUM_CLASSES, FEAT_DIM)(features.half(), targets)
    assert losses["loss_norm"].dtype == torch.float32
    assert losses["loss_norm"].item() == pytest.approx(features.half().float().square().mean().item())
    with pytest.raises(NotImplementedError, match="losses"):
        Regularizer(NUM_CLASSES, FEAT_DIM)(features, targets)


def test_example_in_the_docstring() -> None:
    result = doctest.testmod(sar_cls.regularizers.sar)
    assert result.attempted > 0
    assert result.failed == 0


# The contract of a step


@all_cases
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_same_keys_and_float32_scalars_at_every_step(case: str, soft: bool, device: torch.device) -> None:
    module, classifier = build(case, device)
    keys = list(module(*draw_batch(device), classifier))
    assert all(key.startswith("loss_") for key in keys)
    for seed in range(4):
        losses, gradients = step(module, classifier, *draw_batch(device, seed, soft))
        assert list(losses) == keys
        for loss in losses.values():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert torch.isfinite(loss)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@all_cases
def test_eval_changes_nothing(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    keys = list(module(*draw_batch(device, 0), classifier))
    module.eval()
    before = state_of(module)
    with torch.no_grad():
        losses = module(*draw_batch(device, 1), classifier)
    assert list(losses) == keys
    assert_same_state(before, state_of(module))


@pytest.mark.parametrize("case", ["SAR open", "SAR closed", "SAR per class", "CAR running, linear", "CenterLoss"])
def test_training_does_change_state(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    before = state_of(module)
    module(*draw_batch(device, 1), classifier)
    after = state_of(module)
    assert any(not torch.equal(before[name], after[name]) for name in before)


@all_cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_computed_in_float32(case: str, dtype: torch.dtype, device: torch.device) -> None:
    module, classifier = build(case, device)
    twin = copy.deepcopy(module)
    features, targets = draw_batch(device, soft=True)
    half, gradients = step(module, classifier, features.to(dtype), targets.to(dtype))
    full, _ = step(twin, classifier, features.to(dtype).float(), targets.to(dtype).float())
    assert gradients[0] is None or gradients[0].dtype == dtype
    for key in half:
        assert half[key].dtype == torch.float32
        assert torch.equal(half[key], full[key])
    assert_same_state(state_of(module), state_of(twin))


@all_cases
def test_autocast_is_off_inside(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    twin = copy.deepcopy(module)
    batch = draw_batch(device)
    inside, inside_gradients = step(module, classifier, *batch, autocast=True)
    outside, outside_gradients = step(twin, classifier, *batch)
    for key in inside:
        assert inside[key].dtype == torch.float32
        assert torch.equal(inside[key], outside[key])
    for first, second in zip(inside_gradients, outside_gradients, strict=True):
        assert (first is None) == (second is None)
        assert first is None or second is None or torch.equal(first, second)
    assert_same_state(state_of(module), state_of(twin))


@all_cases
def test_float64_features_are_computed_in_float64(case: str, device: torch.device) -> None:
    module, classifier = build(case, device, torch.float64)
    features, targets = draw_batch(device)
    assert all(loss.dtype == torch.float64 for loss in module(features.double(), targets, classifier).values())


@all_cases
def test_checkpoint_continues_identically(case: str, device: torch.device, tmp_path: Path) -> None:
    module, classifier = build(case, device)
    for seed in range(3):
        module(*draw_batch(device, seed), classifier)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)
    name, arguments = CASES[case]
    resumed = REGULARIZERS[name](NUM_CLASSES, FEAT_DIM, **arguments).to(device)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    if isinstance(module, SAR):
        assert bool(module.initialized.any()) == (case != "SAR closed")
        module.diagnostics()  # figures of the log are not part of a checkpoint
    for seed in range(3, 6):
        first, first_gradients = step(module, classifier, *draw_batch(device, seed))
        second, second_gradients = step(resumed, classifier, *draw_batch(device, seed))
        assert all(torch.equal(first[key], second[key]) for key in first)
        for a, b in zip(first_gradients, second_gradients, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)  # type: ignore[arg-type]
        assert_same_state(state_of(module), state_of(resumed))


@all_cases
def test_batch_of_one_and_fewer_samples_than_classes(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    features, targets = draw_batch(device)
    for count in (1, 2):
        losses, gradients = step(module, classifier, features[:count], targets[:count])
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


# torch.compile


class Head(nn.Module):
    def __init__(self, module: Regularizer, classifier: nn.Module) -> None:
        super().__init__()
        self.module, self.classifier = module, classifier

    def forward(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return self.module(features, targets, self.classifier)


@all_cases
def test_compiles_whole_and_computes_the_same(case: str, device: torch.device) -> None:
    torch._dynamo.reset()
    module, classifier = build(case, device)
    eager, compiled = Head(module, classifier), copy.deepcopy(Head(module, classifier))
    run = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for seed in range(3):
        batch = draw_batch(device, seed)
        results = []
        for head, call in ((eager, eager), (compiled, run)):
            head.zero_grad()
            features = batch[0].clone().requires_grad_()
            losses = call(features, batch[1])
            torch.stack(list(losses.values())).sum().backward()
            results.append((losses, [features.grad, *(p.grad for p in head.parameters())]))
        (first, first_gradients), (second, second_gradients) = results
        assert list(first) == list(second)
        for key in first:
            torch.testing.assert_close(first[key], second[key])
        for a, b in zip(first_gradients, second_gradients, strict=True):
            if a is None or b is None:
                assert a is None or not a.any()
                assert b is None or not b.any()
            else:
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        for a, b in zip(state_of(eager).values(), state_of(compiled).values(), strict=True):
            torch.testing.assert_close(a, b)


# Wrong input


@all_cases
@pytest.mark.parametrize(
    ("features", "targets", "remedy"),
    [
        (torch.zeros(8, 7), torch.zeros(8).long(), r"give \[N, 6\]"),
        (torch.zeros(8, 6, 1, 1), torch.zeros(8).long(), "after global pooling"),
        (torch.zeros(6), torch.zeros(1).long(), r"give \[N, 6\]"),
        (torch.zeros(0, 6), torch.zeros(0).long(), "skip the step"),
        (torch.zeros(8, 6).long(), torch.zeros(8).long(), "floating point"),
        (torch.zeros(8, 6), torch.zeros(7).long(), "one for each"),
        (torch.zeros(8, 6), torch.zeros(8), r"\.long\(\)"),
        (torch.zeros(8, 6), torch.zeros(8).int(), r"\.long\(\)"),
        (torch.zeros(8, 6), torch.full((8, 4), 0.25), r"label weights \[8, 5\]"),
        (torch.zeros(8, 6), torch.eye(5)[torch.zeros(8).long()].long(), r"\.float\(\)"),
        (torch.zeros(8, 6), torch.full((8,), 5), "from 0 to 4"),
        (torch.zeros(8, 6), torch.full((8,), -1), "from 0 to 4"),
        (torch.zeros(8, 6), torch.full((8, 5), 0.3), "sum to 1"),
        (torch.zeros(8, 6), torch.tensor([[1.5, -0.5, 0, 0, 0]] * 8), "at least 0"),
        (torch.zeros(8, 6), torch.full((8, 5), torch.nan), "sum to 1"),
    ],
)
def test_wrong_input(case: str, features: Tensor, targets: Tensor, remedy: str) -> None:
    module, classifier = build(case, "cpu")
    before = state_of(module)
    with pytest.raises(ValueError, match=remedy) as caught:
        module(features, targets, classifier)
    assert "\n" not in str(caught.value)
    assert_same_state(before, state_of(module))


@pytest.mark.parametrize("case", ["SAR open", "CAR running, linear", "FixedAnchors", "CenterLoss"])
def test_module_of_another_dtype_than_the_computation(case: str) -> None:
    module, classifier = build(case, "cpu")
    features, targets = draw_batch("cpu")
    with pytest.raises(ValueError, match=r"convert the regularizer by \.double\(\)"):
        module(features.double(), targets, classifier)
    with pytest.raises(ValueError, match=r"convert the regularizer by \.float\(\)"):
        module.double()(features, targets, classifier)
    module.float()(features, targets, classifier)


def test_a_state_that_was_drawn_in_half_precision() -> None:
    torch.set_default_dtype(torch.bfloat16)  # the one way to such a state
    try:
        module = SAR(NUM_CLASSES, FEAT_DIM)
    finally:
        torch.set_default_dtype(torch.float32)
    assert module.class_anchors.dtype == torch.bfloat16
    features, targets = draw_batch("cpu")
    classifier = nn.Linear(FEAT_DIM, NUM_CLASSES, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"convert the regularizer by \.float\(\)"):
        module(features.bfloat16(), targets, classifier)
    module.float()(features.bfloat16(), targets, classifier)  # the advice works


# Half precision: the state stays in float32, and so does the computation


@all_cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_state_stays_in_float32(case: str, dtype: torch.dtype, device: torch.device) -> None:
    module, classifier = build(case, device)
    before = state_of(module)
    whole = nn.ModuleDict({"regularizer": module, "classifier": classifier}).to(dtype)
    assert classifier.weight.dtype == dtype
    assert_same_state(before, state_of(module))
    for state in state_of(module).values():
        assert state.dtype != dtype
    whole.double()
    assert all(state.dtype == torch.float64 for state in state_of(module).values() if state.is_floating_point())


@all_cases
def test_a_classifier_in_bfloat16_is_computed_in_float32(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    classifier.bfloat16()
    twin, full = copy.deepcopy(module), copy.deepcopy(classifier).float()
    features, targets = draw_batch(device)
    losses, gradients = step(module, classifier, features.bfloat16(), targets)
    expected, expected_gradients = step(twin, full, features.bfloat16().float(), targets)
    for key, value in losses.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[key])
    inputs = [features.bfloat16(), *classifier.parameters(), *module.parameters()]
    for given, gradient, wanted in zip(inputs, gradients, expected_gradients, strict=True):
        assert (gradient is None) == (wanted is None)
        if gradient is not None and wanted is not None:
            assert gradient.dtype == given.dtype
            torch.testing.assert_close(gradient, wanted.to(given.dtype))
    assert_same_state(state_of(module), state_of(twin))


def test_a_classifier_in_bfloat16_compiles_whole() -> None:
    torch._dynamo.reset()
    module, classifier = build("SAR open", "cpu")
    head = Head(module, classifier.bfloat16())
    compiled = torch.compile(copy.deepcopy(head), fullgraph=True, backend="aot_eager")
    features, targets = draw_batch("cpu")
    for _ in range(2):
        expected, got = head(features.bfloat16(), targets), compiled(features.bfloat16(), targets)
        assert all(torch.equal(got[key], expected[key]) for key in expected)
    torch.stack(list(got.values())).sum().backward()


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize(
    ("sizes", "remedy"),
    [((1, 4), "at least 2"), ((3, 0), "at least 1"), ((2.5, 4), "whole number"), ((3, None), "whole number")],
)
def test_wrong_sizes(name: str, sizes: tuple, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        REGULARIZERS[name](*sizes)


@pytest.mark.cuda
def test_targets_on_another_device() -> None:
    module, classifier = build("CAR", "cuda")
    features, _ = draw_batch("cuda")
    with pytest.raises(ValueError, match="move the targets"):
        module(features, draw_batch("cpu")[1], classifier)


# CUDA: no waiting for the device, and the whole step in a graph


@pytest.mark.cuda
@all_cases
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_no_step_waits_for_the_device(case: str, soft: bool) -> None:
    module, classifier = build(case, "cuda")
    batches = [draw_batch("cuda", seed, soft) for seed in range(3)]
    step(module, classifier, *batches[0])  # libraries initialise themselves at their first call
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            step(module, classifier, *batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@all_cases
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_step_in_a_cuda_graph(case: str, soft: bool) -> None:
    module, classifier = build(case, "cuda")
    eager = copy.deepcopy(module)
    features, targets = draw_batch("cuda", 0, soft)
    features.requires_grad_()
    inputs = [features, *classifier.parameters(), *module.parameters()]

    def captured_step() -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
        losses = module(features, targets, classifier)
        return losses, torch.autograd.grad(torch.stack(list(losses.values())).sum(), inputs, allow_unused=True)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            captured_step()
    torch.cuda.current_stream().wait_stream(stream)
    module.load_state_dict(eager.state_dict())  # the warm-up has moved the buffers
    module.diagnostics()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses, gradients = captured_step()

    for seed in range(4):
        new_features, new_targets = draw_batch("cuda", seed, soft)
        with torch.no_grad():
            features.copy_(new_features)
            targets.copy_(new_targets)
        graph.replay()
        expected, expected_gradients = step(eager, classifier, new_features, new_targets)
        for key in losses:
            torch.testing.assert_close(losses[key], expected[key])
        for a, b in zip(gradients, expected_gradients, strict=True):
            assert (a is None and b is None) or torch.allclose(a, b, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]
        for (name, a), b in zip(state_of(module).items(), state_of(eager).values(), strict=True):
            torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}")


# Two processes


class Model(nn.Module):
    """A backbone, a classifier and a regularizer, as they are trained."""

    def __init__(self, regularizer: Regularizer) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, FEAT_DIM)
        self.classifier = nn.Linear(FEAT_DIM, NUM_CLASSES)
        self.regularizer = regularizer

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        features = self.backbone(inputs)
        loss = nn.functional.cross_entropy(self.classifier(features), targets)
        return loss + torch.stack(list(self.regularizer(features, targets, self.classifier).values())).sum()


def distributed_cases() -> dict[str, Regularizer]:
    return {
        "SAR all": SAR(NUM_CLASSES, FEAT_DIM, delta=0.25, momentum=0.5),
        "SAR per class": SAR(NUM_CLASSES, FEAT_DIM, gate="per_class", delta=0.2, momentum=0.5),
        "CAR": CAR(NUM_CLASSES, FEAT_DIM, running_centers=True, linear_layer=True),
        "CenterLoss": CenterLoss(NUM_CLASSES, FEAT_DIM),
    }


def stateful_cases() -> dict[str, Regularizer]:
    """Those whose state follows the batch."""
    return {"CAR": CAR(NUM_CLASSES, FEAT_DIM, running_centers=True), "CenterLoss": CenterLoss(NUM_CLASSES, FEAT_DIM)}


def train_one_process(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    states = {}
    torch.manual_seed(100 + rank)  # every rank draws other anchors and other weights
    for name, regularizer in distributed_cases().items():
        drawn = state_of(regularizer)
        model = nn.parallel.DistributedDataParallel(Model(regularizer))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(12):
            optimizer.zero_grad()
            model(torch.randn(NUM_SAMPLES, 4), torch.randint(NUM_CLASSES, (NUM_SAMPLES,))).backward()
            optimizer.step()
        states[name] = {"drawn": drawn, "trained": state_of(regularizer)}
    for name, regularizer in stateful_cases().items():
        for seed in range(3):
            features, targets = draw_batch("cpu", seed)
            half = slice(rank * NUM_SAMPLES // 2, (rank + 1) * NUM_SAMPLES // 2)
            regularizer(features[half], targets[half])
        states[f"{name} in halves"] = {"trained": state_of(regularizer)}
    torch.save(states, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available() or os.name == "nt", reason="needs gloo and file rendezvous")
def test_processes_hold_the_same_anchors(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train_one_process, args=(2, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name in first:
        # The figures of the log hold the rank's own losses.
        for key in first[name]["trained"].keys() - {"_sums"}:
            assert torch.equal(first[name]["trained"][key], second[name]["trained"][key]), f"{name}: {key}"
    for name in ("SAR all", "SAR per class"):
        assert not torch.equal(first[name]["drawn"]["class_anchors"], second[name]["drawn"]["class_anchors"])
        assert torch.equal(first[name]["drawn"]["class_anchors"], first[name]["trained"]["class_anchors"])
        assert first[name]["trained"]["initialized"].any()
        assert first[name]["trained"]["semantic_anchors"].any()
    # Centres of two half batches are those of the whole batch in one process.
    for name, regularizer in stateful_cases().items():
        for seed in range(3):
            regularizer(*draw_batch("cpu", seed))
        for key, value in state_of(regularizer).items():
            torch.testing.assert_close(first[f"{name} in halves"]["trained"][key], value)
