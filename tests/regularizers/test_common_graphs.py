"""Every regularizer in one graph: compiled whole, without waiting for the device, and captured with its step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sar_cls import Regularizer

from .cases import all_cases, build, draw_batch, state_of, step


class Head(nn.Module):
    def __init__(self, module: Regularizer, classifier: nn.Module) -> None:
        super().__init__()
        self.module, self.classifier = module, classifier

    def forward(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return self.module(features, targets, self.classifier)


# This backend parts forward and backward pass as inductor does, and recomputes: a buffer that the step moves after it was read is
# then another one in the backward pass.
@all_cases
def test_compiles_whole_and_computes_the_same(case: str, device: torch.device) -> None:
    torch._dynamo.reset()
    module, classifier = build(case, device)
    eager, compiled = Head(module, classifier), copy.deepcopy(Head(module, classifier))
    run = torch.compile(compiled, fullgraph=True, backend="aot_eager_decomp_partition")
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
