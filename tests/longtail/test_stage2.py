"""``longtail/stage2.py`` as its user meets it: every method, the place of the data, mistakes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sar_cls import cli
from sar_cls.engine.two_stage import second_stage_methods
from sar_cls.runs.record import read_record
from sar_cls.suites.by_method import with_methods
from sar_cls.suites.rows import load_suite

from .stage_calls import LINE, Result, call, content, pictures, refused, run_dir

UNTRAINED = ("tau", "logit_adjustment")
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
        trained = method not in UNTRAINED
        short = ("--epochs", "1") if trained else ()
        result = call("stage2", "--stage1", start, "--method", method, *short, "--device", "cpu")
        folder = run_dir(result)
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


class TestAfterAFirstStageOfASuiteOfOnesOwn:
    """Methods that come along are known there too, and the report has a row for what they gave."""

    @pytest.fixture
    def mine(self, copied: Path, tmp_path: Path) -> tuple[Path, Path]:
        """Suites of one's own, and a run of one of them."""
        (tmp_path / "mine" / "tails").mkdir(parents=True)
        text = 'title = "Mine"\nmetric = "top1"\n\n[[rows]]\nname = "plain"\nlabel = "Plain"\n'
        (tmp_path / "mine" / "tails" / "suite.toml").write_text(text)
        run = tmp_path / "work" / "tails" / "plain" / copied.name
        shutil.copytree(copied, run)
        record = json.loads((run / "record.json").read_text()) | {"suite": "tails", "row": "plain"}
        (run / "record.json").write_text(json.dumps(record))
        return tmp_path / "mine", run

    @pytest.mark.parametrize("named", [True, False])
    def test_it_is_run_and_shown(self, mine: tuple[Path, Path], named: bool) -> None:
        configs, start = mine
        options = ("--configs", configs) if named else ()
        folder = run_dir(call("stage2", "--stage1", start, "--method", "tau", "--device", "cpu", *options))
        assert folder == start.parents[1] / "plain_tau" / start.name
        assert with_methods(load_suite(configs, "tails"), configs).row("plain_tau").method == "tau"

    def test_the_known_ones_are_told(self, mine: tuple[Path, Path]) -> None:
        configs, start = mine
        says = "unknown method 'taw': choose one of mislas, .*tau"
        refused(configs, "stage2", "--stage1", start, "--method", "taw", "--configs", configs, says=says)
        says = "unknown method 'norm': choose one of .*mixup"
        refused(configs, "stage1", "--method", "norm", "--configs", configs, "--work-dir", configs / "work", says=says)


class TestThePlaceOfTheData:
    def test_is_the_first_stages_unless_another_is_named(self, folder_first: tuple[Path, Path], tmp_path: Path) -> None:
        data, start = folder_first
        assert str(data) not in (start / "record.json").read_text()
        arguments = ("--stage1", start, "--method", "tau", "--work-dir", tmp_path)
        assert read_record(run_dir(call("stage2", *arguments)))["train_counts"] == [12, 6, 4]
        others = pictures(tmp_path / "others", seed=1)
        refused(start, "stage2", *arguments[:2], "--data-root", others, says="give the same --data-root")

    @pytest.mark.parametrize(
        ("root", "says"),
        [
            ("gone", "seed7 had its images in gone, which is not there: give --data-root$"),
            (3, "data_root must"),
            (["a"], "data_root must"),
        ],
        ids=str,
    )
    def test_a_place_that_is_not_here(
        self, folder_first: tuple[Path, Path], tmp_path: Path, root: object, says: str
    ) -> None:
        _, start = folder_first
        copy = tmp_path / "folder_lt" / "mixup" / "seed7"
        shutil.copytree(start, copy)
        net = json.loads((copy / "net.json").read_text()) | {"data_root": root}
        (copy / "net.json").write_text(json.dumps(net))
        refused(tmp_path, "stage2", "--stage1", copy, "--method", "tau", says=says)

    def test_of_a_finished_run_is_not_needed_any_more(
        self, folder_first: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = Path(shutil.copytree(folder_first[1], tmp_path / "folder_lt" / "mixup" / "seed7"))
        arguments = ("--stage1", copy, "--method", "tau", "--device", "cpu")
        done = call("stage2", *arguments)
        net = json.loads((copy / "net.json").read_text()) | {"data_root": "gone"}
        (copy / "net.json").write_text(json.dumps(net))
        monkeypatch.chdir(tmp_path)
        again = call("stage2", *arguments)
        assert (again.code, again.out) == (0, done.out)

    def test_that_is_not_here_and_that_the_data_have_no_need_of(self, copied: Path) -> None:
        net = json.loads((copied / "net.json").read_text()) | {"data_root": "gone"}
        (copied / "net.json").write_text(json.dumps(net))
        run_dir(call("stage2", "--stage1", copied, "--method", "tau", "--device", "cpu"))  # the digits lie nowhere


class TestSecondStageRefuses:
    def refused(self, work_dir: Path, stage1: Path, *arguments: object, says: str) -> None:
        runs = set(work_dir.rglob("seed*"))
        short = () if set(arguments) & set(UNTRAINED) else ("--epochs", "1")
        refused(work_dir, "stage2", "--stage1", stage1, "--device", "cpu", *short, *arguments, says=says)
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

    @pytest.mark.parametrize("option", ["--epochs 3", "--full-epochs", "--hold frozen"])
    def test_how_to_train_what_trains_nothing(self, copied: Path, tmp_path: Path, option: str) -> None:
        says = f"tau corrects the classifier and trains nothing: leave {option.split()[0]} out"
        self.refused(tmp_path, copied, "--method", "tau", *option.split(), says=says)

    def test_an_option_of_several_processes(self, copied: Path, tmp_path: Path) -> None:
        self.refused(tmp_path, copied, "--sync-bn", says="--sync-bn is for several processes of one run")

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
        self.refused(tmp_path, copied, "--method", "tau", says=r"config\.py is damaged .*run this row again")
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
