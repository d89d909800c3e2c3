"""Measures the training step, the data path and the evaluation, side by side with others on the same images.

    python benchmarks/speed.py                                     # the step of ResNet-32 on this machine
    python benchmarks/speed.py --net resnet32 resnet18 --precision fp32 bf16 --json speed.json
    python benchmarks/speed.py --data-path --evaluation
    python benchmarks/speed.py --cost                              # the paper's Tab. 20, for classification
    python benchmarks/speed.py --dense segformer --batch-size 8    # the step of a segmentation net of suite camvid
    python benchmarks/speed.py --profile traces
    python benchmarks/speed.py --start-up
    python benchmarks/speed.py --jobs 1 2 4 8                      # runs an hour by --jobs-per-device, on a GPU

All figures are from this one process, medians of interleaved rounds with their quartiles. Without CIFAR-100 or CamVid random images
of its size are taken. Exit code: 0 done; 2 a wrong argument or data set; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os

from sar_cls import argument_types, cli, exit_codes
from sar_cls.files import check_file

NETS = ("resnet32", "resnet18", "resnet50")
DENSE_NETS = ("segformer", "uper")
CONTENDERS = ("bare", "loop", "sar", "car", "center", "fixed", "stock", "stock_fp32", "mmpretrain")
DENSE_CONTENDERS = ("bare", "loop", "sar", "car", "protoseg")


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    add = parser.add_argument_group("what to measure (default: the training step)").add_argument
    add("--data-path", action="store_true", help="the data path alone, in images/s")
    add("--evaluation", action="store_true", help="evaluation of the test set beside the bare forward pass")
    add("--cost", action="store_true", help="parameters, FLOPs and memory with and without each regularizer")
    add(
        "--profile",
        type=argument_types.path,
        metavar="DIR",
        help="trace of the real loop, most expensive operations, kernels a step",
    )
    add("--start-up", action="store_true", help="seconds to the list of suites and to the end of the first step")
    add(
        "--jobs",
        type=argument_types.jobs,
        nargs="+",
        action="extend",
        metavar="K",
        help="runs an hour with K at a time, from short runs that use the whole device",
    )
    add(
        "--dense",
        nargs="+",
        action="extend",
        choices=DENSE_NETS,
        metavar="NET",
        help=f"the training step of these nets of suite camvid, on its images or random ones: {', '.join(DENSE_NETS)}",
    )
    add("--all", action="store_true", help="step, data path, evaluation and cost")
    known = tuple(dict.fromkeys((*CONTENDERS, *DENSE_CONTENDERS)))
    add(
        "--only",
        nargs="+",
        action="extend",
        choices=known,
        metavar="NAME",
        help=f"only these: {', '.join(CONTENDERS)}; of --dense {', '.join(DENSE_CONTENDERS)}",
    )
    add = parser.add_argument_group("with which setting").add_argument
    add("--net", nargs="+", action="extend", choices=NETS, help="default: resnet32")
    add("--batch-size", type=argument_types.positive_int, metavar="N", help="default: 128, of --dense 8")
    add(
        "--precision",
        nargs="+",
        action="extend",
        choices=["fp32", "bf16"],
        help="default: that of benchmarks/run.py",
    )
    add(
        "--memory-format",
        choices=["channels_last", "contiguous"],
        default="channels_last",
        help="default: channels_last",
    )
    add("--mode", choices=["eager", "compile", "cudagraph"], help="default: that of benchmarks/run.py on the device")
    add("--optimizer", choices=["default", "foreach", "fused"], default="default", help="implementation of SGD")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add(
        "--threads", type=argument_types.threads, metavar="N", help="threads of torch on the CPU (default: torch's own)"
    )
    add(
        "--wait",
        nargs="+",
        action="extend",
        choices=["sleep", "spin"],
        help="how threads wait for each other in the runs of --jobs: asleep, as in benchmarks/run.py (the default), or as OpenMP "
        "does by itself",
    )
    add(
        "--workers",
        type=int,
        default=cores,
        metavar="N",
        help=f"processes of a DataLoader (default: {cores}, the cores)",
    )
    add = parser.add_argument_group("how").add_argument
    add("--rounds", type=argument_types.positive_int, default=7, metavar="N", help="timed rounds (default: 7)")
    add(
        "--steps",
        type=argument_types.positive_int,
        default=20,
        metavar="N",
        help="training steps in a round (default: 20)",
    )
    add("--epochs", type=argument_types.epochs, default=6, metavar="N", help="of each run of --jobs (default: 6)")
    add(
        "--data-root",
        type=argument_types.path_text,
        metavar="DIR",
        help="folder of CIFAR-100 (default: data, or random images)",
    )
    add("--json", type=argument_types.path, metavar="FILE", help="write the figures, the machine and the versions here")
    arguments = parser.parse_args()
    # Not as defaults of the parser, which would add to them.
    arguments.net, arguments.wait = arguments.net or ["resnet32"], arguments.wait or ["sleep"]
    if arguments.epochs < 3:
        parser.error("--epochs must be at least 3: the first and the last epoch of a run do not count")
    if arguments.only and not arguments.dense and not set(arguments.only) & set(CONTENDERS):
        parser.error(f"--only {' '.join(arguments.only)} is of segmentation nets: add --dense {DENSE_NETS[0]}")
    if arguments.workers < 0:
        parser.error("--workers must be 0 or more")
    return arguments


def main() -> int:
    arguments = parse()
    exit_codes.when_interrupted("of a measurement nothing is kept: the same command begins anew")
    if arguments.json is not None:
        check_file(arguments.json, "give another --json")
    if arguments.profile is not None:
        cli.writable_folder(arguments.profile, "--profile")

    # Only now: these import torch and mmpretrain, which takes seconds.
    with exit_codes.interruptible():
        from sar_cls.engine.options import usable_device
        from sar_cls.speed.report import run

    return run(arguments, usable_device(arguments.device))
