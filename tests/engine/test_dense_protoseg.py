"""A run of a segmentation net with ProtoSeg, from its suite's row to its net outside of the benchmark, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_scenes import DENSE, DISALIGN, camvid_job

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

import sar_cls
from sar_cls.cli import CONFIGS
from sar_cls.engine.config import row_config
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.engine.run import DataCache, Job, run
from sar_cls.errors import InputError
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.folder import LAST
from sar_cls.runs.history import read_history
from sar_cls.runs.record import read_record
from sar_cls.suites.rows import load_suite

from .killed_in_a_fork import killed

MakeJob = Callable[..., Job]
PROTOSEG = DENSE + 'model["decode_head"]["classifier"] = dict(type="protoseg", per_class=2)\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, options: Options, cache: DataCache) -> Path:
    job = camvid_job(tmp_path_factory.mktemp("run"), "segformer_protoseg", PROTOSEG)
    run(job, options, cache)
    return job.run_dir


def test_it_trains_and_its_net_gives_the_outputs_of_the_run(finished: Path, options: Options, cache: DataCache) -> None:
    history = read_history(finished)
    assert {"decode.loss_ce", "decode.loss_ppc", "decode.loss_ppd"} <= set(history)
    state = read_checkpoint(finished / LAST)["state_dict"]
    prototypes = state["decode_head.conv_seg.prototypes"]
    assert prototypes.shape == (11, 2, 8)
    torch.testing.assert_close(prototypes.norm(dim=2), torch.ones(11, 2))
    assert "decode_head.conv_seg.weight" not in state
    outputs = read_dense_outputs(finished)
    images = torch.from_numpy(outputs.images)
    labels, _ = sar_cls.load_model(finished).segment(images)
    assert np.array_equal(labels.numpy(), outputs.last.predictions[outputs.examples])


def test_the_record_names_it(finished: Path) -> None:
    assert read_record(finished)["method"] == "ProtoSeg"


@pytest.mark.parametrize("row", ["segformer_protoseg", "uper_protoseg"])
def test_the_rows_of_camvid_have_the_published_settings(row: str) -> None:
    head = row_config(load_suite(CONFIGS, "camvid").row(row).source).model.decode_head
    assert head.classifier == dict(type="protoseg")
    assert head.get("regularizer") is None


def test_a_second_stage_that_calibrates_class_weights_is_refused(
    finished: Path, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(DISALIGN, row="segformer_disalign", stage1_dir=finished)
    with pytest.raises(
        InputError, match=r"classifies by prototypes, and .* calibrates a linear classifier: give another"
    ):
        run(job, options, cache)
    assert not job.run_dir.exists()


def test_killed_and_resumed_it_ends_with_the_same_prototypes(
    finished: Path, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    """What is drawn for the assignment and the dropout goes on where it was."""
    job = make_job(PROTOSEG, row="killed")
    killed(job, options, cache, 3)
    assert read_checkpoint(job.run_dir / LAST)["meta"]["epoch"] == 1
    run(job, options, cache)
    one, other = (read_checkpoint(folder / LAST)["state_dict"] for folder in (finished, job.run_dir))
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


AUXILIARY = """
model["auxiliary_head"] = dict(
    type="RegularizedFCNHead", in_channels=48, in_index=2, channels=8, num_classes=11, norm_cfg=dict(type="BN"), {entry}
)
"""
CASCADE = """
_stage = dict(model["decode_head"], _delete_=True)
model["type"], model["num_stages"] = "CascadeEncoderDecoder", 2
model["decode_head"] = [dict(_stage, classifier=dict(type="protoseg")), _stage]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AUXILIARY.format(entry='classifier=dict(type="protoseg")'), "left alone; move the classifier to decode_head"),
        (AUXILIARY.format(entry='regularizer=dict(type="SAR")'), "left alone; move the regularizer to decode_head"),
        (CASCADE, "in a cascade the last head is regularized; move the classifier there"),
        ('model["type"] = "CascadeEncoderDecoder"\n', "decode_head of CascadeEncoderDecoder is a list of heads"),
        (CASCADE.replace("Cascade", ""), "decode_head of EncoderDecoder is one head; write it so"),
        (
            'model["decode_head"]["regularizer"] = dict(type="ProtoSeg")\n',
            r"ProtoSeg is no regularizer: in a decode head write classifier=dict\(",
        ),
    ],
)
def test_what_stands_in_another_place_is_told_where_it_belongs(text: str, message: str, make_job: MakeJob) -> None:
    with pytest.raises(InputError, match=message) as error:
        resolve(make_job(DENSE + text).source, Options())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('["regularizer"] = dict(type="SAR")', "protoseg brings its own losses .* leave the regularizer out"),
        ('["classifier"]["momentun"] = 0.9', "ProtoSeg has no argument 'momentun': did you mean 'momentum'"),
        ('["classifier"]["epsilon"] = 0', "epsilon is 0: give a number above 0"),
        ('["classifier"]["per_class"] = 2.0', "per_class is 2.0: give a whole number of at least 1"),
        ('["classifier"]["ignore_index"] = 3', "gets ignore_index from the model: leave it out"),
        ('["classifier"]["type"] = "ProtoSeg"', "unknown classifier 'ProtoSeg': did you mean 'protoseg'"),
        ('["classifier"] = "protoseg"', r"write one as dict\(type="),
        ('["ignore_index"] = 4', "decode_head has ignore_index 4 and pixels without a class have the label 255"),
        ('["out_channels"] = 1', "a head with 1 output for 11 classes has no scores for each"),
        ('["type"] = "SegformerHead"', "takes no classifier; write RegularizedSegformerHead"),
    ],
)
def test_bad_input_is_one_sentence(
    change: str, message: str, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(PROTOSEG + f'model["decode_head"]{change}\n')
    with pytest.raises(InputError, match=message) as error:
        run(job, options, cache)
    assert "\n" not in str(error.value)
    assert not job.run_dir.exists()
