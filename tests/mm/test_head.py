"""The head beside mmpretrain's LinearClsHead, in mmpretrain's own pipeline and in the batched one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import set_random_seed
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

import sar_cls.mm  # noqa: F401
from sar_cls.regularizers import REGULARIZERS, SAR, Regularizer

C, D = 5, 16
ALL = sorted(REGULARIZERS)


class Raising(Regularizer):
    """A regularizer that must not be called."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        raise AssertionError("the regularizer ran")


def classifier(head_type: str = "RegularizedLinearClsHead", *, soft: bool = False, **parts: Any) -> nn.Module:
    """A small mmpretrain ImageClassifier whose features are [N, 16]."""
    loss = dict(type="CrossEntropyLoss", **({"use_soft": True} if soft else {}))
    model: dict[str, Any] = dict(
        type="mmpretrain.ImageClassifier",
        backbone=dict(type="ResNet_CIFAR", depth=18, stem_channels=4, base_channels=2, out_indices=(3,)),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type=head_type, num_classes=C, in_channels=D, loss=loss),
    )
    head_keys = {"regularizer", "classifier", "cal_acc", "topk", "init_cfg"}
    model["head"].update({key: value for key, value in parts.items() if key in head_keys})
    model.update({key: value for key, value in parts.items() if key not in head_keys})
    return MODELS.build(model)


def initialised(seed: int = 7, *args: Any, **parts: Any) -> nn.Module:
    set_random_seed(seed)
    model = classifier(*args, **parts)
    model.init_weights()
    return model


def samples(labels: list[int], scores: Tensor | None = None) -> list[DataSample]:
    made = [DataSample().set_gt_label(label) for label in labels]
    if scores is not None:
        for sample, score in zip(made, scores, strict=True):
            sample.set_gt_score(score)
    return made


def losses_and_gradients(model: nn.Module, inputs: Tensor, data_samples: Any) -> tuple[dict, dict[str, Tensor]]:
    model.train()
    losses = model(inputs, data_samples, mode="loss")
    sum(value for key, value in losses.items() if "loss" in key).backward()
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_state(first: nn.Module, second: nn.Module) -> None:
    a, b = first.state_dict(), second.state_dict()
    assert list(a) == list(b)
    assert all(torch.equal(a[key], b[key]) for key in a)


class TestWithoutRegularizer:
    """``regularizer=None`` is LinearClsHead."""

    def test_same_keys_and_same_initial_weights(self) -> None:
        plain, own = initialised(7, "LinearClsHead"), initialised(7)
        assert_same_state(plain, own)
        other_seed = initialised(8)
        assert not torch.equal(own.head.fc.weight, other_seed.head.fc.weight)

    @pytest.mark.parametrize("targets", ["labels", "scores", "tensor", "soft tensor"])
    def test_same_loss_and_gradients(self, targets: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
        soft = targets in ("scores", "soft tensor")
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        plain = initialised(7, "LinearClsHead", soft=soft).to(device)
        own = initialised(7, soft=soft).to(device)
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(6, 3, 16, 16, generator=generator).to(device)
        labels = [0, 4, 2, 2, 1, 3]
        scores = torch.rand(6, C, generator=generator).softmax(dim=1).to(device) if soft else None
        listed = [sample.to(device) for sample in samples(labels, scores)]
        given: Any = {
            "labels": listed,
            "scores": listed,
            "tensor": torch.tensor(labels, device=device),
            "soft tensor": scores,
        }[targets]
        expected, expected_grads = losses_and_gradients(plain, inputs, listed)
        got, grads = losses_and_gradients(own, inputs, given)
        assert set(got) == set(expected) == {"loss"}
        assert torch.equal(got["loss"], expected["loss"])
        assert list(grads) == list(expected_grads)
        assert all(torch.equal(grads[name], expected_grads[name]) for name in grads)

    def test_accuracy_while_training_is_that_of_linear_cls_head(self) -> None:
        plain = initialised(7, "LinearClsHead", cal_acc=True, topk=(1, 3))
        own = initialised(7, cal_acc=True, topk=(1, 3))
        inputs, data = torch.randn(6, 3, 8, 8), samples([0, 1, 2, 3, 4, 0])
        expected, got = plain.train()(inputs, data, mode="loss"), own.train()(inputs, data, mode="loss")
        assert set(got) == set(expected) == {"loss", "accuracy_top-1", "accuracy_top-3"}
        assert all(torch.equal(torch.as_tensor(got[key]), torch.as_tensor(expected[key])) for key in got)
        with pytest.raises(ValueError, match="cal_acc"):
            own(inputs, torch.full((6, C), 1 / C), mode="loss")

    def test_same_predictions(self) -> None:
        plain, own = initialised(7, "LinearClsHead").eval(), initialised(7).eval()
        inputs = torch.randn(4, 3, 8, 8)
        assert torch.equal(plain(inputs, mode="tensor"), own(inputs, mode="tensor"))
        first, second = plain(inputs, mode="predict"), own(inputs, mode="predict")
        assert all(torch.equal(a.pred_score, b.pred_score) for a, b in zip(first, second, strict=True))


class TestAutocast:
    @pytest.mark.parametrize("kind", [None, dict(type="scaled"), dict(type="cosine")])
    def test_logits_are_those_of_float32(self, kind: dict | None, device: torch.device) -> None:
        model = initialised(classifier=kind).to(device).train()
        features = torch.randn(6, D, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
        targets = torch.tensor([0, 4, 2, 2, 1, 3], device=device)
        expected = model.head.fc(features.float())
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = model.head((features,))
            loss = model.head.loss((features,), targets)["loss"]
        assert logits.dtype == loss.dtype == torch.float32
        assert torch.equal(logits, expected)
        torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(expected, targets))

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_a_model_of_another_dtype(self, dtype: torch.dtype) -> None:
        model = initialised().to(dtype).eval()
        assert model(torch.randn(2, 3, 8, 8, dtype=dtype)).dtype == dtype


class TestPairedSeeds:
    """A regularizer changes nothing of what the rest of the model draws."""

    @pytest.mark.parametrize("name", ALL)
    def test_same_weights_as_the_plain_head(self, name: str) -> None:
        plain, own = initialised(3, "LinearClsHead").state_dict(), initialised(3, regularizer=dict(type=name))
        state = {key: value for key, value in own.state_dict().items() if not key.startswith("head.regularizer.")}
        assert list(state) == list(plain)
        assert all(torch.equal(state[key], plain[key]) for key in plain)

    @pytest.mark.parametrize("name", ALL)
    def test_random_state_is_that_of_the_plain_head(self, name: str) -> None:
        states = []
        for parts in ({}, {"regularizer": dict(type=name)}):
            torch.manual_seed(11)
            model = classifier(**parts)
            states.append(torch.get_rng_state())
            model.init_weights()
            states.append(torch.get_rng_state())
        assert torch.equal(states[0], states[2])
        assert torch.equal(states[1], states[3])

    @pytest.mark.parametrize("name", ALL)
    def test_the_generators_of_gpus_are_left_alone(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(seed: int) -> None:
            raise AssertionError("initial weights drawn on a GPU would not be those of the plain head")

        monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
        classifier(regularizer=dict(type=name))

    def test_anchors_follow_the_seed(self) -> None:
        first, again, other = (initialised(seed, regularizer=dict(type="SAR")) for seed in (3, 3, 4))
        assert_same_state(first, again)
        anchors = [model.head.regularizer.class_anchors for model in (first, other)]
        assert not torch.equal(*anchors)

    @pytest.mark.parametrize(
        "regularizer", [dict(type="SAR"), dict(type="CAR", linear_layer=True), dict(type="CenterLoss")]
    )
    def test_init_weights_leaves_the_regularizer_alone(self, regularizer: dict) -> None:
        torch.manual_seed(5)
        model = classifier(regularizer=regularizer)
        before = copy.deepcopy(model.head.regularizer.state_dict())
        assert before
        model.init_weights()
        after = model.head.regularizer.state_dict()
        assert list(before) == list(after)
        assert all(torch.equal(before[key], after[key]) for key in before)

    def test_the_embedding_keeps_the_scale_of_torch(self) -> None:
        # The head's rule would make it 0.01; torch draws from U(-1/sqrt(D), 1/sqrt(D)), of std 1/sqrt(3 D) = 0.14.
        embedding = initialised(regularizer=dict(type="SAR")).head.regularizer.embedding
        assert embedding[0].weight.detach().std() == pytest.approx((3 * D) ** -0.5, rel=0.2)
        own = initialised(regularizer=dict(type="SAR")).head
        assert own.fc.weight.detach().std() == pytest.approx(0.01, rel=0.3)


class TestTraining:
    @pytest.mark.parametrize("name", ALL)
    def test_losses_are_those_of_the_regularizer(self, name: str, device: torch.device) -> None:
        model = initialised(regularizer=dict(type=name)).to(device).train()
        features = torch.randn(12, D, device=device)
        targets = torch.arange(12, device=device) % C
        expected = copy.deepcopy(model.head.regularizer)(features, targets, model.head.fc)
        got = model.head.loss((features,), targets)
        assert set(got) == {"loss_ce", *expected}
        for key, value in expected.items():
            torch.testing.assert_close(got[key], value)
        torch.testing.assert_close(got["loss_ce"], nn.functional.cross_entropy(model.head.fc(features), targets))

    @pytest.mark.parametrize("name", [None, *ALL])
    def test_what_is_logged_as_loss_is_what_is_minimised(self, name: str | None) -> None:
        """The total, with and without a regularizer; the parts stand beside it."""
        model = initialised(regularizer=None if name is None else dict(type=name)).train()
        losses = model.head.loss((torch.randn(12, D),), torch.arange(12) % C)
        total, logged = model.parse_losses(losses)
        torch.testing.assert_close(logged["loss"], total)
        torch.testing.assert_close(total, torch.stack(list(losses.values())).sum())
        assert set(logged) == {"loss", *losses}
        assert ("loss_ce" in logged) == (name is not None)

    def test_the_step_minimises_the_sum_of_all_losses(self) -> None:
        model = initialised(regularizer=dict(type="FixedAnchors", weight=3.0)).train()
        inputs, targets = torch.randn(8, 3, 8, 8), torch.arange(8) % C
        reference = copy.deepcopy(model)
        features = reference.extract_feat(inputs)[-1]
        ce = nn.functional.cross_entropy(reference.head.fc(features), targets)
        pull = 3.0 * (features - reference.head.regularizer.class_anchors[targets]).square().mean()
        (ce + pull).backward()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.data_preprocessor = nn.Identity()
        model.data_preprocessor.forward = lambda data, training: data  # type: ignore[method-assign]
        model.train_step(dict(inputs=inputs, data_samples=targets), wrapper)
        for name, parameter in reference.named_parameters():
            torch.testing.assert_close(
                before[name] - dict(model.named_parameters())[name], parameter.grad, atol=1e-5, rtol=1e-4
            )

    @pytest.mark.parametrize("name", [None, *ALL])
    @pytest.mark.parametrize("augment", [dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0), None])
    def test_in_mmpretrains_own_pipeline(self, name: str | None, augment: dict | None, device: torch.device) -> None:
        torch.manual_seed(0)
        parts: dict[str, Any] = {"regularizer": None if name is None else dict(type=name)}
        if augment is not None:
            parts["train_cfg"] = dict(augments=[augment])
        model = classifier(
            soft=augment is not None,
            data_preprocessor=dict(mean=[127.0] * 3, std=[60.0] * 3, num_classes=C),
            **parts,
        ).to(device)
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
        model.train()
        before = [p.detach().clone() for p in model.head.fc.parameters()]
        mixed = 0
        for _ in range(3):
            data = dict(
                inputs=[torch.randint(256, (3, 16, 16), dtype=torch.uint8) for _ in range(10)],
                data_samples=samples([0, 1, 2, 3, 4] * 2),
            )
            logs = model.train_step(data, wrapper)
            assert all(torch.isfinite(value).all() for value in logs.values())
            if augment is not None:
                soft = torch.stack([sample.gt_score for sample in data["data_samples"]])
                mixed += int(((soft > 0).sum(dim=1) == 2).sum())
        assert (mixed > 0) == (augment is not None)
        assert all(not torch.equal(a, b) for a, b in zip(before, model.head.fc.parameters(), strict=True))

    def test_soft_scores_reach_the_regularizer(self) -> None:
        model = initialised(soft=True, regularizer=dict(type="FixedAnchors")).train()
        features, scores = torch.randn(3, D), torch.tensor([[0.7, 0.3, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0.5, 0.5]])
        anchors = model.head.regularizer.class_anchors
        expected = 0.1 * (features - scores @ anchors).square().mean()
        got = model.head.loss((features,), samples([0, 2, 3], scores))["loss_anchor"]
        torch.testing.assert_close(got, expected)


class TestInference:
    @pytest.mark.parametrize("mode", ["tensor", "predict"])
    def test_the_regularizer_does_not_run(self, mode: str) -> None:
        model = initialised(regularizer=Raising(C, D))
        with torch.no_grad():
            model.eval()(torch.randn(2, 3, 8, 8), mode=mode)
            model.train()(torch.randn(2, 3, 8, 8), mode=mode)
        with pytest.raises(AssertionError, match="the regularizer ran"):
            model(torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), mode="loss")

    def test_a_checkpoint_loads_into_the_plain_head(self) -> None:
        model = initialised(3, regularizer=dict(type="SAR"))
        losses_and_gradients(model, torch.randn(8, 3, 8, 8), torch.arange(8) % C)  # moves the running statistics
        plain = classifier("LinearClsHead")
        report = plain.load_state_dict(model.state_dict(), strict=False)
        expected = {f"head.regularizer.{key}" for key in model.head.regularizer.state_dict()}
        assert set(report.unexpected_keys) == expected
        assert len(report.unexpected_keys) == len(expected) > 5
        assert report.missing_keys == []
        inputs = torch.randn(4, 3, 8, 8)
        assert torch.equal(plain.eval()(inputs), model.eval()(inputs))


class TestArguments:
    @pytest.mark.parametrize("bad", [dict(type="SARR"), dict(type=None), dict(), dict(type="sar")])
    def test_unknown_regularizer(self, bad: dict) -> None:
        with pytest.raises(ValueError, match=r"unknown regularizer .*CAR.*SAR"):
            classifier(regularizer=bad)

    def test_a_misspelt_argument_names_the_near_one(self) -> None:
        with pytest.raises(ValueError, match=r"^SAR has no argument 'anchor_wieght': did you mean 'anchor_weight'\?$"):
            classifier(regularizer=dict(type="SAR", anchor_wieght=0.1))
        with pytest.raises(ValueError, match=r"^CosineLinear has no argument 'scales': did you mean 'scale'\?$"):
            classifier(classifier=dict(type="cosine", scales=30.0))

    def test_unknown_classifier(self) -> None:
        with pytest.raises(ValueError, match=r"unknown classifier 'linear'.*scaled.*cosine"):
            classifier(classifier=dict(type="linear"))

    def test_the_config_is_left_as_it_was(self) -> None:
        regularizer, kind = dict(type="SAR", tau=0.8), dict(type="cosine", scale=4.0)
        model = classifier(regularizer=regularizer, classifier=kind)
        assert regularizer == dict(type="SAR", tau=0.8)
        assert kind == dict(type="cosine", scale=4.0)
        assert model.head.regularizer.tau == 0.8

    def test_a_module_is_taken_as_it_is(self) -> None:
        module = SAR(C, D)
        assert classifier(regularizer=module).head.regularizer is module

    @pytest.mark.parametrize("name", [None, *ALL])
    @pytest.mark.parametrize("kind", ["scaled", "cosine"])
    def test_other_classifiers(self, kind: str, name: str | None) -> None:
        regularizer = None if name is None else dict(type=name)
        model = initialised(classifier=dict(type=kind), regularizer=regularizer).train()
        features = torch.randn(10, D)
        weight, fc = model.head.fc.weight, model.head.fc
        if kind == "scaled":
            with torch.no_grad():
                fc.scaling.scale.copy_(torch.linspace(0.5, 2.0, C))
            expected = (features @ weight.T + fc.bias) * torch.linspace(0.5, 2.0, C)
        else:
            expected = torch.stack([nn.functional.cosine_similarity(features, w[None]) for w in weight], dim=1)
        torch.testing.assert_close(model.head((features,)), expected)
        losses, grads = losses_and_gradients(model, torch.randn(10, 3, 8, 8), torch.arange(10) % C)
        assert all(torch.isfinite(value) for value in losses.values())
        assert grads["head.fc.weight"].abs().sum() > 0
