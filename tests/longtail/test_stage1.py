"""``longtail/stage1.py`` as its user meets it: what it prints and leaves, image folders, mistakes."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest

from sar_cls.runs.record import read_record

from .stage_calls import LINE, SHORT, Result, call, content, pictures, refused, run_dir


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
            (["--local-statistics"], "--local-statistics is for several processes of one run"),
            (["--weights", ""], "--weights: the path is empty"),
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
