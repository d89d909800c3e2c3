"""What the scripts share: where suites are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sar_cls import cli
from sar_cls.errors import InputError
from sar_cls.suites.rows import list_suites


class TestWithoutConfigs:
    """Outside a checkout, say: a sentence and exit code 2, and no empty list or table."""

    def test_no_suites(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(InputError, match=r"no suites in .*: it should hold"):
                list_suites(folder)

    @pytest.mark.parametrize(
        "arguments",
        [
            "benchmarks/run.py --list",
            "benchmarks/run.py",
            "benchmarks/report.py",
            "benchmarks/report.py --work-dir {results}",
            "longtail/stage1.py --dataset digits",
        ],
    )
    def test_scripts(
        self, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        import runpy

        script, *rest = arguments.format(results=cli.ROOT / "results" / "cpu-20-epochs").split()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(cli, "CONFIGS", tmp_path / "configs")
        monkeypatch.setattr(sys, "argv", [script, *rest])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(cli.ROOT / script), run_name="__main__")
        out, err = capsys.readouterr()
        assert (end.value.code, out) == (2, "")
        assert err.startswith(f"{Path(script).name}: no suites in {tmp_path / 'configs'}")
        assert len(err.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []
