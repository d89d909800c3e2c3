"""``longtail/stage1.py`` and ``longtail/stage2.py`` as their user meets them: both stages, every method, mistakes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np
import pytest
import torch
from PIL import Image

from sar_cls import cli
from sar_cls.engine.two_stage import second_stage_methods
from sar_cls.runs.record import read_record

SHORT = ("--seed", "7", "--epochs", "1", "--device", "cpu")
NUMBER = r"\d+\.\d\d"
LINE = rf"top-1 {NUMBER} %, many (?:{NUMBER}|no class), medium {NUMBER}, few {NUMBER}, ECE {NUMBER} %"


class Result(NamedTuple):
    """What a call of a script left: its exit code and what it printed, the progress of decoding images aside."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr without remarks about a run."""
        remarks = re.compile(r".*( training images used|every epoch is one step$|SAR's gate was closed)")
        return [line for line in self.err.splitlines() if not remarks.match(line)]


def call(script: str, *arguments: object) -> Result:
    """Calls a script in this process."""
    out, err = io.StringIO(), io.StringIO()
    path = cli.ROOT / "longtail" / f"{script}.py"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name="__main__")
    errors = [line for line in err.getvalue().splitlines(keepends=True) if not line.startswith("decoding ")]
    return Result(int(end.value.code or 0), out.getvalue(), "".join(errors))


def refused(work_dir: Path, script: str, *arguments: object, says: str) -> None:
    """Exit code 2, one line that says what was wrong, and nothing is written or lost below ``work_dir``."""
    before = content(work_dir)
    result = call(script, *arguments)
    assert result.code == 2, result
    assert len(result.errors) == 1, result.err
    assert result.errors[0].startswith(f"{script}.py: ")
    assert re.search(says, result.errors[0]), result.err
    assert content(work_dir) == before


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run_dir(result: Result) -> Path:
    """The run that a script names in its last line."""
    assert (result.code, result.errors) == (0, []), result
    return Path(result.out.splitlines()[-1].split(": ", 1)[1]).parent


def pictures(
    root: Path, classes: int = 3, train: int = 12, test: int = 4, seed: int = 0, *, mixed: bool = False
) -> Path:
    """An image folder of noise: ``root/train/<class>/*.png`` and ``root/test/<class>/*.png``, 8x8 pixels or, ``mixed``, more."""
    rng = np.random.default_rng(seed)
    for split, number in (("train", train), ("test", test)):
        for name in ("ant", "bee", "cat")[:classes]:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                more = index % 3 if mixed else 0
                pixels = rng.integers(0, 256, (8 + more, 8 + 2 * more, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return root


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def first(work_dir: Path, one_thread: None) -> Result:
    """A first stage with mixup and SAR on the digits, of one epoch."""
    return call("stage1", "--dataset", "digits", "--method", "sar", *SHORT, "--work-dir", work_dir)


@pytest.fixture(scope="module")
def folder_first(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Path, Path]:
    """An image folder, and a first stage trained on it."""
    root = tmp_path_factory.mktemp("folder")
    data = pictures(root / "images")
    options = ("--dataset", "folder", "--data-root", data, "--imbalance", "3")
    return data, run_dir(call("stage1", *options, *SHORT, "--work-dir", root / "work"))


@pytest.fixture
def copied(first: Result, tmp_path: Path) -> Path:
    """A work directory of its own with a copy of the first stage, to break; the run's folder."""
    source = run_dir(first)
    target = tmp_path / "work" / source.parent.parent.name / source.parent.name / source.name
    return Path(shutil.copytree(source, target))


class TestFirstStage:
    def test_what_it_prints_and_leaves(self, first: Result, work_dir: Path) -> None:
        folder = run_dir(first)
        assert folder == work_dir / "digits_lt" / "mixup_sar" / "seed7-epochs1"
        last, best, checkpoint = first.out.splitlines()[-3:]
        assert re.fullmatch(f"last epoch: {LINE}", last)
        assert re.fullmatch(rf"best epoch on test \(1\): {LINE}", best)
        assert checkpoint == f"checkpoint: {folder / 'last.pth'}"
        record = read_record(folder)
        assert (record["suite"], record["row"], record["seed"], record["epochs"]) == ("digits_lt", "mixup_sar", 7, 1)
        assert (record["stage"], record["method"]) == (1, "SAR")
        assert f"top-1 {record['metrics']['last']['top1']:.2f} %" in last

    def test_the_accuracy_of_each_class_is_a_file(self, first: Result) -> None:
        folder = run_dir(first)
        record = read_record(folder)
        with (folder / "per_class.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert [(line["class"], line["name"]) for line in lines] == [(str(c), str(c)) for c in range(10)]
        assert [int(line["train_count"]) for line in lines] == record["train_counts"]
        for epoch in ("last", "best"):
            mean = np.mean([float(line[f"{epoch}_accuracy"]) for line in lines])
            assert mean == pytest.approx(record["metrics"][epoch]["macro"], abs=1e-3)

    def test_the_same_command_again_trains_nothing(self, first: Result, work_dir: Path) -> None:
        before = content(run_dir(first))
        again = call("stage1", "--dataset", "digits", "--method", "sar", *SHORT, "--work-dir", work_dir)
        assert (again.code, again.err) == (0, "")
        assert again.out.splitlines() == first.out.splitlines()[-4:]
        assert content(run_dir(first)) == before

    def test_a_folder_of_images(self, folder_first: tuple[Path, Path]) -> None:
        _, folder = folder_first
        record = read_record(folder)
        assert (folder.parent.parent.name, folder.name) == ("folder_lt", "seed7-epochs1-if3-folder")
        assert record["train_counts"] == [12, 6, 4]  # 12 * 3 ** (-c / 2), rounded down
        assert record["overrides"] == {"imbalance": 3.0, "dataset": "folder"}
        assert record["extra"]["images_found"] == 36
        assert [line.split(",")[1] for line in (folder / "per_class.csv").read_text().splitlines()[1:]] == [
            "ant",
            "bee",
            "cat",
        ]

    @pytest.mark.parametrize("arguments", [(), ("--imbalance", "none")], ids=["default", "none"])
    def test_a_folder_with_a_tail_of_its_own_is_taken_as_it_is(
        self, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        data, counts = pictures(tmp_path / "images", train=120), {"ant": 120, "bee": 30, "cat": 5}
        for name, count in counts.items():
            for file in sorted((data / "train" / name).iterdir())[count:]:
                file.unlink()
        options = ("--dataset", "folder", "--data-root", data, *SHORT, "--work-dir", tmp_path / "work")
        result = call("stage1", *options, *arguments)
        record = read_record(run_dir(result))
        assert record["train_counts"] == [120, 30, 5]
        assert record["overrides"] == {"imbalance": "none", "dataset": "folder"}
        assert result.out.splitlines()[-4].startswith(
            f"training images: 155 of 155 found, sorted by name, fingerprint {record['data_fingerprint']['train']}"
        )
        accuracy = {line.split(",")[1]: line.split(",") for line in (run_dir(result) / "per_class.csv").open()}
        for name, group in (("ant", "many_shot"), ("bee", "medium_shot"), ("cat", "few_shot")):
            expected = float(accuracy[name][accuracy["name"].index("last_accuracy")])
            assert record["metrics"]["last"][group] == pytest.approx(expected, abs=1e-3)
        second = call("stage2", "--stage1", run_dir(result), "--data-root", data, "--epochs", "1", "--device", "cpu")
        assert read_record(run_dir(second))["train_counts"] == [120, 30, 5]

    def test_what_a_tail_cuts_off_is_said(self, first: Result) -> None:
        record = read_record(run_dir(first))
        used, found = sum(record["train_counts"]), record["extra"]["images_found"]
        assert used < found == 1352
        assert f"digits_lt/mixup_sar seed 7: {used} of 1,352 training images used\n" in first.err
        about = first.out.splitlines()[-4]
        assert about == f"training images: {used} of 1,352 found, fingerprint {record['data_fingerprint']['train']}"

    def test_a_tail_too_strong_for_a_folder_with_its_own(self, tmp_path: Path) -> None:
        data = pictures(tmp_path / "images", train=20)
        for file in sorted((data / "train" / "cat").iterdir())[2:]:
            file.unlink()
        (tmp_path / "work").mkdir()
        options = ("--dataset", "folder", "--data-root", data, "--imbalance", "100", "--work-dir", tmp_path / "work")
        says = r"smallest has \(2, the largest has 20\): --imbalance none takes the classes as they are"
        refused(tmp_path / "work", "stage1", *options, *SHORT, says=says)

    def test_a_run_that_fails_is_one_line_and_an_error_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sar_cls.engine import run as engine

        def fails(*_: object) -> None:
            raise RuntimeError("out of memory\nand many more lines")

        arguments = ("--dataset", "digits", *SHORT, "--work-dir", tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(engine.training, "execute", fails)
            result = call("stage1", *arguments)
        log = tmp_path / "digits_lt" / "mixup" / "seed7-epochs1" / "error.log"
        assert (result.code, result.out) == (1, "")
        assert result.errors == [
            f"stage1.py: digits_lt/mixup seed 7: failed, RuntimeError: out of memory (all of it in {log})"
        ]
        assert "and many more lines" in log.read_text()
        start = run_dir(call("stage1", *arguments))
        assert not log.exists()
        with monkeypatch.context() as patch:
            patch.setattr(engine.posthoc, "execute", fails)
            result = call("stage2", "--stage1", start, "--method", "tau")
        assert (result.code, len(result.errors)) == (1, 1)
        assert "digits_lt/mixup_tau seed 7: failed, RuntimeError: out of memory" in result.err

    def test_a_run_that_another_process_is_at(self, tmp_path: Path) -> None:
        folder = tmp_path / "digits_lt" / "mixup" / "seed7-epochs1"
        folder.mkdir(parents=True)
        with filelock.FileLock(folder / ".lock"):
            result = call("stage1", "--dataset", "digits", *SHORT, "--work-dir", tmp_path)
        assert (result.code, result.out) == (3, "")
        assert result.err == "stage1.py: digits_lt/mixup seed 7: another process is at this run, passed over\n"
        assert content(tmp_path) == {}


# Those that ask a first stage for anchors: after one epoch SAR's gate has opened for no class.
BY_ANCHORS = ("nearest_anchor", "nearest_anchor_euclidean", "anchor_average")


class TestSecondStage:
    @pytest.mark.parametrize("method", BY_ANCHORS)
    def test_a_first_stage_without_anchors_is_one_sentence(self, first: Result, method: str) -> None:
        result = call("stage2", "--stage1", run_dir(first), "--method", method, "--device", "cpu")
        assert result.code == 2
        assert len(result.errors) == 1
        assert "SAR's gate never opened for 10 classes" in result.errors[0]

    @pytest.mark.parametrize("method", [name for name in second_stage_methods(cli.CONFIGS) if name not in BY_ANCHORS])
    def test_every_method(self, first: Result, work_dir: Path, method: str) -> None:
        start = run_dir(first)
        before = content(start)
        result = call("stage2", "--stage1", start, "--method", method, "--epochs", "1", "--device", "cpu")
        folder = run_dir(result)
        trained = method not in ("tau", "logit_adjustment")
        assert folder.parent == work_dir / "digits_lt" / f"mixup_sar_{method}"
        assert folder.name == start.name + ("-then1" if trained else "")
        if trained:
            last, best, path = result.out.splitlines()[-3:]
            assert re.fullmatch(f"last epoch: {LINE}", last)
            assert re.fullmatch(rf"best epoch on test \(1\): {LINE}", best)
            assert path == f"checkpoint: {folder / 'last.pth'}"
        else:
            corrected, path = result.out.splitlines()[-2:]
            assert re.fullmatch(f"corrected: {LINE}", corrected)
            assert path == f"record: {folder / 'record.json'}"
        one, two = read_record(start), read_record(folder)
        assert (two["stage"], two["seed"], two["epochs"]) == (2, 7, 1 if trained else 0)
        assert two["stage1"]["run_id"] == one["run_id"]
        assert two["data_fingerprint"] == one["data_fingerprint"]
        assert two["method"] == "none"  # SAR belongs to the first stage
        assert (folder / "per_class.csv").is_file()
        assert content(start) == before

    def test_from_the_checkpoint_into_another_work_directory(self, first: Result, tmp_path: Path) -> None:
        start = run_dir(first)
        result = call("stage2", "--stage1", start / "last.pth", "--method", "tau", "--work-dir", tmp_path)
        assert run_dir(result) == tmp_path / "digits_lt" / "mixup_sar_tau" / start.name

    def test_a_folder_of_images(self, folder_first: tuple[Path, Path]) -> None:
        data, start = folder_first
        result = call("stage2", "--stage1", start, "--data-root", data, "--epochs", "1", "--device", "cpu")
        assert run_dir(result).parent == start.parent.parent / "mixup_mislas"
        assert read_record(run_dir(result))["train_counts"] == [12, 6, 4]


class TestThePlaceOfTheData:
    def test_is_the_first_stages_unless_another_is_named(self, folder_first: tuple[Path, Path], tmp_path: Path) -> None:
        data, start = folder_first
        assert str(data) not in (start / "record.json").read_text()
        arguments = ("--stage1", start, "--method", "tau", "--work-dir", tmp_path)
        assert read_record(run_dir(call("stage2", *arguments)))["train_counts"] == [12, 6, 4]
        others = pictures(tmp_path / "others", seed=1)
        refused(start, "stage2", *arguments[:2], "--data-root", others, says="give the same --data-root")

    @pytest.mark.parametrize("root", ["gone", 3, ["a"]], ids=str)
    def test_a_place_that_is_not_here(self, folder_first: tuple[Path, Path], tmp_path: Path, root: object) -> None:
        _, start = folder_first
        copy = tmp_path / "folder_lt" / "mixup" / "seed7"
        shutil.copytree(start, copy)
        net = json.loads((copy / "net.json").read_text()) | {"data_root": root}
        (copy / "net.json").write_text(json.dumps(net))
        refused(
            tmp_path, "stage2", "--stage1", copy, "--method", "tau", says="data/train is not a folder|data_root must"
        )


class TestImagesOfManySizes:
    def test_the_option_brings_them_to_one_for_both_stages(self, tmp_path: Path, one_thread: None) -> None:
        data = pictures(tmp_path / "images", mixed=True)
        arguments = ("--dataset", "folder", "--data-root", data, *SHORT, "--work-dir", tmp_path / "work")
        refused(tmp_path / "work", "stage1", *arguments, says=r"is \d+x\d+ pixels, but .*--image-size N")
        start = run_dir(call("stage1", *arguments, "--image-size", "10"))
        assert start.name == "seed7-epochs1-ifnone-folder-size10"
        assert read_record(start)["overrides"] == {"imbalance": "none", "dataset": "folder", "size": 10}
        assert json.loads((start / "net.json").read_text())["image_size"] == [10, 10]
        second = call("stage2", "--stage1", start, "--data-root", data, "--epochs", "1", "--device", "cpu")
        assert read_record(run_dir(second))["data_fingerprint"] == read_record(start)["data_fingerprint"]
        assert read_record(run_dir(second))["overrides"]["size"] == 10

    @pytest.mark.parametrize("size", ["0", "4097", "8.5", "large"])
    def test_sizes_that_are_none(self, tmp_path: Path, size: str) -> None:
        refused(tmp_path, "stage1", "--dataset", "folder", "--image-size", size, says=f"--image-size: '{size}' must be")

    def test_other_sets_have_a_size(self, tmp_path: Path) -> None:
        arguments = ("--dataset", "digits", "--image-size", "16", "--work-dir", tmp_path)
        refused(tmp_path, "stage1", *arguments, says="--image-size is for folders of images: .* takes digits")


class TestFirstStageRefuses:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--imbalance", "0.5"], "--imbalance: '0.5' must be a number of at least 1"),
            (["--imbalance", "nan"], "--imbalance: 'nan' must be"),
            (["--imbalance", "100000"], "leaves a class without images"),
            (["--method", "mixupp"], "unknown method 'mixupp': choose one of"),
            (["--method", "mislas"], "unknown method 'mislas'"),
            (["--dataset", "digitz"], "--dataset: invalid choice: 'digitz'"),
            (["--epochs", "0"], "--epochs: '0' must be a whole number of at least 1"),
            (["--seed", "-1"], "--seed: '-1' must be a whole number from 0"),
            (["--device", "gpu"], "unknown device 'gpu'"),
            (["--dataset", "cifar100", "--data-root", "nowhere"], "nowhere"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_arguments(self, tmp_path: Path, arguments: list[str], says: str) -> None:
        refused(tmp_path, "stage1", "--dataset", "digits", *SHORT, "--work-dir", tmp_path, *arguments, says=says)
        assert list(tmp_path.iterdir()) == []

    def test_a_work_directory_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        refused(
            tmp_path, "stage1", "--dataset", "digits", "--work-dir", tmp_path / "file", says=r"is a file.*--work-dir"
        )

    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            ("one class", "has one class, 'ant'; a classifier needs at least two"),
            ("no test folder", r"class folder .*train/cat is missing in .*test"),
            ("no training folder", r"class folder .*test/cat is missing in .*train"),
            ("no test image", r"class folder .*test/cat holds no images"),
            ("no training image", r"class folder .*train/cat holds no images"),
            ("damaged", r"cat/00\.png is damaged or no image"),
            ("no tail", "leaves a class without images"),
        ],
    )
    def test_data(self, tmp_path: Path, fault: str, says: str) -> None:
        data = pictures(tmp_path / "images", classes=1 if fault == "one class" else 3, train=4, test=2)
        split = "test" if "test" in fault else "train"
        if fault.endswith("folder"):
            shutil.rmtree(data / split / "cat")
        elif fault.endswith("image"):
            for file in (data / split / "cat").iterdir():
                file.unlink()
        elif fault == "damaged":
            (data / "train" / "cat" / "00.png").write_bytes(b"\x89PNG and no more")
        (tmp_path / "work").mkdir()
        imbalance = ("--imbalance", "2") if fault != "no tail" else ("--imbalance", "100")
        options = ("--dataset", "folder", "--data-root", data, *imbalance)
        refused(tmp_path / "work", "stage1", *options, *SHORT, "--work-dir", tmp_path / "work", says=says)
        assert list((tmp_path / "work").iterdir()) == []

    def test_a_finished_run_on_other_images(self, folder_first: tuple[Path, Path], tmp_path: Path) -> None:
        work_dir, other = folder_first[1].parents[2], pictures(tmp_path / "images", seed=1)
        options = ("--dataset", "folder", "--data-root", other, "--imbalance", "3", *SHORT, "--work-dir", work_dir)
        refused(work_dir, "stage1", *options, says="finished run on other training images and test images than those")


class TestSecondStageRefuses:
    def refused(self, work_dir: Path, stage1: Path, *arguments: object, says: str) -> None:
        runs = set(work_dir.rglob("seed*"))
        refused(work_dir, "stage2", "--stage1", stage1, "--device", "cpu", "--epochs", "1", *arguments, says=says)
        assert set(work_dir.rglob("seed*")) == runs

    def test_a_path_that_is_not_there(self, copied: Path, tmp_path: Path) -> None:
        for path in (tmp_path / "nowhere", copied / "nowhere.pth", tmp_path / "nowhere" / "last.pth"):
            self.refused(tmp_path, path, says=f"no run at {re.escape(str(path))}")

    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        self.refused(tmp_path, tmp_path, says=r"no record\.json in")

    def test_no_path_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        refused(tmp_path, "stage2", says="--stage1")

    def test_the_best_epoch(self, copied: Path, tmp_path: Path) -> None:
        self.refused(tmp_path, copied / "best.pth", says=r"best\.pth is not the last checkpoint .*last\.pth")

    def test_an_unknown_method(self, copied: Path, tmp_path: Path) -> None:
        self.refused(tmp_path, copied, "--method", "mislass", says="unknown method 'mislass': choose one of mislas")

    @pytest.mark.parametrize("method", ["mislas", "tau"])
    @pytest.mark.parametrize("how", ["half", "empty", "gone", "foreign"])
    def test_a_damaged_checkpoint(self, copied: Path, tmp_path: Path, how: str, method: str) -> None:
        path = copied / "last.pth"
        whole = path.read_bytes()
        path.unlink()
        if how == "foreign":
            torch.save({"state_dict": {}}, path)
        elif how != "gone":
            path.write_bytes(whole[: len(whole) // 2] if how == "half" else b"")
        self.refused(tmp_path, copied, "--method", method, says=r"last\.pth")

    @pytest.mark.parametrize("text", ["", '{"schema": 1, "suite": "dig', "[]", '{"schema": 1}'])
    def test_a_damaged_record(self, copied: Path, tmp_path: Path, text: str) -> None:
        (copied / "record.json").write_text(text)
        self.refused(tmp_path, copied, says=r"record\.json")

    def test_an_unfinished_first_stage(self, copied: Path, tmp_path: Path) -> None:
        (copied / "record.json").unlink()
        self.refused(tmp_path, copied, says="the run is not finished")

    @pytest.mark.parametrize("method", ["mislas", "tau"])
    def test_weights_of_another_net(
        self, copied: Path, folder_first: tuple[Path, Path], tmp_path: Path, method: str
    ) -> None:
        shutil.copyfile(folder_first[1] / "last.pth", copied / "last.pth")
        self.refused(tmp_path, copied, "--method", method, says=r"is of another net: .* does not fit")

    @pytest.mark.parametrize("field", ["suite", "row", "run"])
    def test_a_record_that_leads_out_of_the_work_directory(self, copied: Path, tmp_path: Path, field: str) -> None:
        record: dict[str, Any] = json.loads((copied / "record.json").read_text())
        (copied / "record.json").write_text(json.dumps(record | {field: "../../outside"}))
        elsewhere = ("--work-dir", tmp_path / "deep" / "er")
        self.refused(tmp_path, copied, "--method", "tau", *elsewhere, says=f"the field '{field}' is no plain name")
        assert not (tmp_path / "deep").exists()

    def test_a_first_stage_that_would_run_code(self, copied: Path, tmp_path: Path) -> None:
        (copied / "net.json").unlink()
        (copied / "config.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
        self.refused(tmp_path, copied, "--method", "tau", says=r"config\.py is damaged .*run it again")
        assert not (tmp_path / "ran").exists()

    def test_no_configs_at_all(self, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "CONFIGS", tmp_path / "configs")
        self.refused(tmp_path, copied, "--method", "tau", says=r"no suites in .*: it should hold")

    def test_a_second_stage(self, copied: Path, tmp_path: Path) -> None:
        second = run_dir(call("stage2", "--stage1", copied, "--method", "tau", "--device", "cpu"))
        self.refused(tmp_path, second, says="is a second stage itself")

    def test_other_images(self, folder_first: tuple[Path, Path], tmp_path: Path) -> None:
        start, other = folder_first[1], pictures(tmp_path / "images", seed=1)
        arguments = ("--data-root", other, "--method", "crt")
        self.refused(start.parents[2], start, *arguments, says="was trained on other images")

    def test_a_first_stage_outside_of_a_work_directory(self, copied: Path, tmp_path: Path) -> None:
        moved = copied.rename(tmp_path / "moved")
        self.refused(tmp_path, moved, says="give --work-dir")

    def test_a_record_that_names_other_images(self, copied: Path, tmp_path: Path) -> None:
        record: dict[str, Any] = json.loads((copied / "record.json").read_text())
        record["data_fingerprint"]["train"] = "0" * 64
        (copied / "record.json").write_text(json.dumps(record))
        self.refused(tmp_path, copied, says="was trained on other images")
