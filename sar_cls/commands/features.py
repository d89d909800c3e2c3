"""Makes the features of finished runs that have none, from their last checkpoint, and adds their geometry to their records.

    sar-cls features work_dirs/digits/sar/seed1024
    sar-cls features work_dirs/cifar100_lt/*/*                      # those that have features already are passed over
    sar-cls features RUN --data-root /data --device cuda

Runs write their features themselves, so this is for runs by older versions or with --no-features. The net must decide on every test
image as the saved outputs do, and the images must be those of the record; a run of which that is not so is left as it is.
Exit code: 0 all have features now; 2 a wrong argument, or a run was left as it is; 3 another process is at one; 130 interrupted.
"""

from __future__ import annotations

import argparse

from sar_cls import argument_types, exit_codes, messages
from sar_cls.errors import InputError, RunLocked


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", type=argument_types.path, nargs="+", metavar="RUN", help="folder of a finished run")
    add("--again", action="store_true", help="also for runs that have features")
    add(
        "--data-root",
        type=argument_types.path_text,
        metavar="DIR",
        help="folder of the data sets (default: the run's own)",
    )
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add("--threads", type=argument_types.threads, metavar="N", help="threads of torch on the CPU (default: the cores)")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    exit_codes.when_interrupted(
        "the same command makes all of them again"
        if arguments.again
        else "runs whose features are made keep them, and the same command goes on with the others"
    )

    with exit_codes.interruptible():
        from sar_cls.engine import finished_features
        from sar_cls.engine.options import threads, usable_device
        from sar_cls.engine.run import DataCache
        from sar_cls.runs.features import read_features
        from sar_cls.runs.record import read_record

    device, cache = usable_device(arguments.device), DataCache()
    refused, locked = 0, 0
    for run_dir in arguments.runs:
        try:
            if not run_dir.is_dir():
                raise InputError(f"no run at {run_dir}: give the folder of a finished run")
            if not arguments.again and finished_features.has_features(read_record(run_dir), run_dir):
                messages.result(f"{run_dir}: has features")
                continue
            with threads(arguments.threads):
                finished_features.make_features(run_dir, data_root=arguments.data_root, device=device, cache=cache)
        except (InputError, RunLocked) as error:
            messages.complain(str(error))
            refused, locked = refused + isinstance(error, InputError), locked + isinstance(error, RunLocked)
            continue
        features = read_features(run_dir)
        images, width = features.test_features.shape
        messages.result(f"{run_dir}: {images:,} x {width} test features, {features.num_classes} classes")
    return 2 if refused else 3 if locked else 0
