"""Second stages: what moves, what does not, and from which first stages they start."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from tiny_runs import TINY, TINY_SAR, files_of
from torch import Tensor

from sar_cls.cli import CONFIGS
from sar_cls.data import ImageSet, longtail_counts
from sar_cls.engine import recipe
from sar_cls.engine import run as engine
from sar_cls.engine.config import load_config, row_config
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.metrics.correction import adjust_logits, tau_normalize
from sar_cls.mm import loops
from sar_cls.mm.loaders import train_loader
from sar_cls.mm.second_stage import first_stage_weights
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import LAST
from sar_cls.runs.record import RECORD_FILE, is_finished, read_record
from sar_cls.suites.rows import Source, load_suite

MakeJob = Callable[..., Job]

STAGE2 = f"""
_base_ = "{CONFIGS}/digits_lt/mixup.py"
data_preprocessor = dict(mixup_alpha=None)
train_dataloader = dict(sampler=dict(type="ClassBalanced"), batches_per_epoch="one_pass_plus_one")
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2)
"""
HEAD = 'model = dict(type="SecondStageClassifier", hold="frozen", head=dict(loss=dict(use_soft=False){}))\n'
TEXTS = {
    "mislas": f'_base_ = "{CONFIGS}/digits_lt/mislas.py"\ntrain_cfg = dict(max_epochs=2)\nparam_scheduler = dict(T_max=2)\n',
    "crt": STAGE2 + HEAD.format("") + "continue_classifier = False\n",
    "lws": STAGE2 + HEAD.format(', classifier=dict(type="scaled", train_linear=False)'),
    "disalign": f'_base_ = "{CONFIGS}/digits_lt/disalign.py"\ntrain_cfg = dict(max_epochs=2)\nparam_scheduler = dict(T_max=2)\n',
    "tau": f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nposthoc = dict(type="tau_norm", tau=0.7)\ntrain_cfg = dict(max_epochs=0)\n',
    "adjusted": f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\nposthoc = dict(type="logit_adjustment", tau=1.5)\n'
    "train_cfg = dict(max_epochs=0)\n",
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, cache: DataCache) -> Path:
    """The folder of a finished first stage, with SAR."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "sar.py").write_text(TINY_SAR)
    engine.run(
        Job("tiny", "sar", Source(folder / "sar.py"), 1024, folder / "tiny" / "sar" / "seed1024"), Options(), cache
    )
    return folder / "tiny" / "sar" / "seed1024"


def state(folder: Path) -> dict[str, Tensor]:
    return read_checkpoint(folder / LAST)["state_dict"]


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in before if key in after and not torch.equal(before[key], after[key])}


@pytest.fixture
def start_of(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The state of the model when its training starts."""
    kept: dict[str, Tensor] = {}
    run = loops.DeviceTrainLoop.run

    def keep(self: loops.DeviceTrainLoop) -> Any:
        kept.update({key: value.detach().clone() for key, value in self.runner.bare_model.state_dict().items()})
        return run(self)

    monkeypatch.setattr(loops.DeviceTrainLoop, "run", keep)
    return kept


class TestWhatMoves:
    def test_shifted_batch_norm(
        self, first: Path, make_job: MakeJob, cache: DataCache, start_of: dict[str, Tensor]
    ) -> None:
        job = make_job(TEXTS["mislas"], stage1_dir=first)
        engine.run(job, Options(), cache)
        before, after = state(first), state(job.run_dir)
        backbone = {key for key in after if key.startswith("backbone.")}
        statistics = {key for key in backbone if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}
        assert len(statistics) > 20
        assert moved(before, after) == statistics | {"head.fc.weight", "head.fc.bias"}
        assert set(after) - set(before) == {"head.fc.scaling.scale"}
        assert not torch.equal(after["head.fc.scaling.scale"], torch.ones(10))
        # The regularizer stays behind, all else is taken as it was.
        assert {key for key in before if key not in after} == {key for key in before if "regularizer" in key}
        assert moved(before, start_of) == set()
        assert torch.equal(start_of["head.fc.scaling.scale"], torch.ones(10))

    def test_crt_trains_a_new_classifier_alone(
        self, first: Path, make_job: MakeJob, cache: DataCache, start_of: dict[str, Tensor]
    ) -> None:
        job = make_job(TEXTS["crt"], stage1_dir=first)
        engine.run(job, Options(), cache)
        before, after = state(first), state(job.run_dir)
        assert moved(before, after) == {"head.fc.weight", "head.fc.bias"}
        assert moved(before, start_of) == {"head.fc.weight", "head.fc.bias"}  # not the trained ones
        assert start_of["head.fc.weight"].std() == pytest.approx(0.01, rel=0.2)
        assert not start_of["head.fc.bias"].any()

    def test_lws_trains_the_scale_alone(
        self, first: Path, make_job: MakeJob, cache: DataCache, start_of: dict[str, Tensor]
    ) -> None:
        job = make_job(TEXTS["lws"], stage1_dir=first)
        engine.run(job, Options(), cache)
        before, after = state(first), state(job.run_dir)
        assert moved(before, after) == set()
        assert moved(start_of, after) == {"head.fc.scaling.scale"}

    def test_disalign_trains_the_calibration_alone(
        self, first: Path, make_job: MakeJob, cache: DataCache, start_of: dict[str, Tensor]
    ) -> None:
        job = make_job(TEXTS["disalign"], stage1_dir=first)
        record = engine.run(job, Options(), cache)
        before, after = state(first), state(job.run_dir)
        # The published program leaves the net in training mode.
        assert {key.rsplit(".", 1)[1] for key in moved(before, after)} == {
            "running_mean",
            "running_var",
            "num_batches_tracked",
        }
        calibration = {key for key in after if key.startswith("head.fc.calibration.")}
        assert (
            set(after) - set(before)
            == calibration
            == {key for key in moved(start_of, after) if key.startswith("head.")}
        )
        assert torch.equal(start_of["head.fc.calibration.confidence.0.weight"], torch.full((1, 64), 0.1))
        start = start_of["head.fc.calibration.magnitude"], start_of["head.fc.calibration.margin"]
        assert torch.equal(start[0], torch.ones(10))
        assert not start[1].any()
        assert record["extra"]["geometry"]  # its features are kept, without class vectors
        assert "classifier_weight" not in np.load(job.run_dir / "features.npz").files

    @pytest.mark.parametrize("method", ["mislas", "crt"])
    def test_another_seed_of_the_second_stage_starts_from_the_same_weights(
        self, method: str, first: Path, make_job: MakeJob, cache: DataCache, start_of: dict[str, Tensor]
    ) -> None:
        starts = []
        for seed in (1, 2):
            engine.run(make_job(TEXTS[method], seed=seed, stage1_dir=first), Options(stage2_epochs=1), cache)
            starts.append(dict(start_of))
        different = moved(*starts)
        assert different == ({"head.fc.weight"} if method == "crt" else set())

    def test_the_record_names_its_first_stage(self, first: Path, make_job: MakeJob, cache: DataCache) -> None:
        record = engine.run(make_job(TEXTS["mislas"], stage1_dir=first), Options(stage2_epochs=1), cache)
        origin = read_record(first)
        assert record["stage"] == 2
        assert record["stage1"]["run_id"] == origin["run_id"]
        assert (record["epochs"], record["epochs_recipe"]) == (1, 2)
        assert record["data_fingerprint"] == origin["data_fingerprint"]
        assert record["method"] == "none"


class TestClosedForm:
    def stored(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        with np.load(folder / "test_outputs.npz") as file:
            return file["logits"].astype(np.float64), file["labels"]

    def test_logit_adjustment(self, first: Path, make_job: MakeJob, cache: DataCache) -> None:
        job = make_job(TEXTS["adjusted"], stage1_dir=first)
        record = engine.run(job, Options(), cache)
        logits, labels = self.stored(first)
        adjusted, own_labels = self.stored(job.run_dir)
        assert np.array_equal(labels, own_labels)
        counts = np.array(record["train_counts"])
        expected = logits - 1.5 * np.log(counts / counts.sum())
        np.testing.assert_allclose(adjusted, expected, atol=1e-5)
        np.testing.assert_allclose(adjust_logits(torch.from_numpy(logits), counts, 1.5), expected, atol=1e-5)
        assert (record["epochs"], record["best_epoch"], record["stage"]) == (0, 0, 2)
        assert record["extra"]["tau"] == 1.5
        top1 = 100 * (adjusted.argmax(axis=1) == labels).mean()
        assert record["metrics"]["last"]["top1"] == pytest.approx(top1)
        assert record["metrics"]["best"] == record["metrics"]["last"]

    def test_tau_normalisation(
        self, first: Path, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = make_job(TEXTS["tau"], stage1_dir=first)
        record = engine.run(job, Options(), cache)
        logits, _ = self.stored(first)
        normalised, _ = self.stored(job.run_dir)
        weights = state(first)
        weight, bias = (weights[f"head.fc.{name}"].double().numpy() for name in ("weight", "bias"))
        norm = np.linalg.norm(weight, axis=1)
        expected = (logits - bias) / norm**0.7
        np.testing.assert_allclose(normalised, expected, atol=3e-2, rtol=2e-3)
        np.testing.assert_allclose(tau_normalize(torch.from_numpy(weight), 0.7), weight / norm[:, None] ** 0.7)
        assert (record["epochs"], record["epochs_recipe"], record["extra"]["tau"]) == (0, 0, 0.7)

    def test_an_unknown_correction(self, first: Path, make_job: MakeJob, cache: DataCache) -> None:
        job = make_job(TEXTS["tau"].replace("tau_norm", "tau_norms"), stage1_dir=first)
        with pytest.raises(InputError, match=r"tau_norms.*choose one of tau_norm, logit_adjustment, nearest_anchor"):
            engine.run(job, Options(), cache)
        assert not is_finished(job.run_dir)

    def test_without_a_first_stage(self, make_job: MakeJob, cache: DataCache) -> None:
        with pytest.raises(InputError, match="--stage1"):
            engine.run(make_job(TEXTS["tau"]), Options(), cache)


class TestRefused:
    @pytest.fixture
    def copied(self, first: Path, tmp_path: Path) -> Path:
        """A copy of the first stage to break."""
        return Path(shutil.copytree(first, tmp_path / "first"))

    def refused(self, job: Job, cache: DataCache, match: str) -> None:
        assert job.stage1_dir is not None
        before = files_of(job.stage1_dir) if job.stage1_dir.is_dir() else {}
        with pytest.raises(InputError, match=match) as error:
            engine.run(job, Options(), cache)
        assert len(str(error.value).splitlines()) == 1
        assert (files_of(job.stage1_dir) if job.stage1_dir.is_dir() else {}) == before
        assert not job.run_dir.exists()

    def test_there_is_none(self, make_job: MakeJob, cache: DataCache, tmp_path: Path) -> None:
        self.refused(make_job(TEXTS["mislas"], stage1_dir=tmp_path / "nowhere"), cache, "not finished")

    def test_unfinished(self, copied: Path, make_job: MakeJob, cache: DataCache) -> None:
        (copied / RECORD_FILE).unlink()
        self.refused(make_job(TEXTS["mislas"], stage1_dir=copied), cache, "not finished")

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}'])
    def test_a_damaged_record(self, copied: Path, make_job: MakeJob, cache: DataCache, content: bytes) -> None:
        (copied / RECORD_FILE).write_bytes(content)
        self.refused(make_job(TEXTS["mislas"], stage1_dir=copied), cache, "record")

    @pytest.mark.parametrize("how", ["half", "empty", "gone", "foreign"])
    def test_a_damaged_checkpoint(self, copied: Path, make_job: MakeJob, cache: DataCache, how: str) -> None:
        path = copied / LAST
        content = path.read_bytes()
        if how == "gone":
            path.unlink()
        elif how == "foreign":
            torch.save({"state_dict": {}}, path)
        else:
            path.write_bytes(content[: len(content) // 2] if how == "half" else b"")
        self.refused(make_job(TEXTS["mislas"], stage1_dir=copied), cache, "checkpoint|not written by this project")

    def test_a_second_stage(self, first: Path, make_job: MakeJob, cache: DataCache) -> None:
        second = make_job(TEXTS["mislas"], row="second", stage1_dir=first)
        engine.run(second, Options(stage2_epochs=1), cache)
        job = make_job(TEXTS["mislas"], row="third", stage1_dir=second.run_dir)
        self.refused(job, cache, "is a second stage itself")

    def test_other_images(self, copied: Path, make_job: MakeJob, cache: DataCache) -> None:
        record = json.loads((copied / RECORD_FILE).read_text())
        record["data_fingerprint"]["train"] = "0" * 64
        (copied / RECORD_FILE).write_text(json.dumps(record))
        self.refused(make_job(TEXTS["mislas"], stage1_dir=copied), cache, "trained on other images")

    def test_another_classifier(self, make_job: MakeJob, cache: DataCache) -> None:
        """Directions of a cosine classifier are no weights of a linear one."""
        cosine = make_job(TINY + 'model = dict(head=dict(classifier=dict(type="cosine", scale=10.0)))\n', row="cosine")
        engine.run(cosine, Options(epochs=1), cache)
        with pytest.raises(InputError, match=r"head\.fc\.bias does not fit"):
            engine.run(make_job(TEXTS["mislas"], stage1_dir=cosine.run_dir), Options(), cache)
        # A new classifier on the same backbone is another matter.
        engine.run(make_job(TEXTS["crt"], row="crt", stage1_dir=cosine.run_dir), Options(stage2_epochs=1), cache)

    def test_weights_of_another_net(self) -> None:
        config = load_config(CONFIGS / "digits_lt" / "mislas.py")
        config.model.head.loss["class_counts"] = list(range(20, 10, -1))
        models = []
        for depth, classes in ((8, 10), (14, 10), (8, 10)):
            config.model.backbone.depth = depth
            with DefaultScope.overwrite_default_scope("mmpretrain"):
                built = MODELS.build(dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
            models.append(built)
            assert classes == models[-1].head.num_classes
        small, deep, _ = (model.state_dict() for model in models)
        assert set(first_stage_weights(small, models[0], "here")) == set(small)
        for wrong in (deep, {**small, "head.fc.weight": torch.zeros(11, 64)}):
            with pytest.raises(InputError, match=r"here is of another net: .* does not fit"):
                first_stage_weights(wrong, models[0], "here")
        with pytest.raises(InputError, match=r"here is of another net: .* does not fit"):
            first_stage_weights(small, models[1], "here")

    def test_a_first_stage_that_was_trained_anew(
        self, copied: Path, make_job: MakeJob, cache: DataCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A half-done second stage goes on from the very run that it began with, or not at all."""
        job = make_job(TEXTS["mislas"], stage1_dir=copied)
        engine.run(job, Options(), cache)
        (job.run_dir / RECORD_FILE).unlink()
        record = json.loads((copied / RECORD_FILE).read_text())
        (copied / RECORD_FILE).write_text(json.dumps({**record, "run_id": "another"}))
        before = files_of(job.run_dir)
        with pytest.raises(InputError, match=r"another first stage .* than this run \(another\)"):
            engine.run(job, Options(), cache)
        assert files_of(job.run_dir) == before
        (copied / RECORD_FILE).write_text(json.dumps(record))
        engine.run(job, Options(), cache)


class TestEpoch:
    @pytest.mark.parametrize(("imbalance", "images", "batches"), [(100, 10847, 86), (50, 12608, 100), (10, 19573, 154)])
    def test_length_as_published(self, imbalance: int, images: int, batches: int) -> None:
        counts = longtail_counts(500, 100, imbalance)
        labels = torch.arange(100).repeat_interleave(torch.tensor(counts))
        assert len(labels) == images
        names = tuple(str(index) for index in range(100))
        data = ImageSet(torch.zeros(images, 1, 1, 3, dtype=torch.uint8), labels, names, "cifar100", "train")
        config = load_config(CONFIGS / "cifar100_lt" / "mislas.py").train_dataloader
        loader = train_loader(data, config, 0, torch.device("cpu"))
        assert len(loader) == batches == len(list(loader))
        drawn = torch.cat([batch["targets"] for batch in loader]).bincount(minlength=100)
        assert len(torch.cat([batch["targets"] for batch in loader])) == 128 * batches
        assert drawn.max() - drawn.min() <= 4  # class-aware: as many of each class, up to one block
        resolved = recipe.resolve(
            Source(CONFIGS / "cifar100_lt" / "mislas.py"), Options(full_epochs=True), second_stage=True
        )
        assert len(train_loader(data, resolved.config.train_dataloader, 0, torch.device("cpu"))) == 391
        assert resolved.overrides == {"full_epochs": True}
        for row in ("crt", "lws"):
            other = row_config(load_suite(CONFIGS, "cifar100_lt").row(row).source).train_dataloader
            assert len(train_loader(data, other, 0, torch.device("cpu"))) == batches
        published = row_config(load_suite(CONFIGS, "cifar100_lt").row("crt_published").source).train_dataloader
        loader = train_loader(data, published, 0, torch.device("cpu"))
        assert len(loader) == images // 512 == len(list(loader))
        assert all(len(batch["targets"]) == 512 for batch in loader)
        published.batch_size = 30000  # fewer images than a batch has: an epoch is one
        assert len(train_loader(data, published, 0, torch.device("cpu"))) == 1
