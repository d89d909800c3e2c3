"""Writes the net of a run as files that other programs read.

    sar-cls export work_dirs/digits/sar/seed1024                    # model.safetensors beside the checkpoints
    sar-cls export RUN --onnx --torch-export --out exported
    sar-cls export RUN --epoch best --image-size 32

Preprocessing is part of the net: all files take uint8 images [N, H, W, 3] and give logits [N, C], of a segmentation net
[N, C, H, W]. ``sar_cls.load_model`` reads the safetensors file. Nothing of the regularizer is in them.
Exit code: 0 done; 2 a wrong argument or run; 130 interrupted.
"""

from __future__ import annotations

import argparse

from sar_cls import argument_types, cli, exit_codes, messages
from sar_cls.errors import InputError
from sar_cls.files import refusing, replacing


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "run", type=argument_types.path, metavar="RUN", help="folder of a run, or its last.pth or best.pth"
    )
    parser.add_argument("--epoch", choices=["last", "best"], help="of a folder's two checkpoints (default: last)")
    parser.add_argument(
        "--out", type=argument_types.path, metavar="DIR", help="folder of the files (default: the run's)"
    )
    parser.add_argument("--onnx", action="store_true", help="also model.onnx")
    parser.add_argument("--torch-export", action="store_true", help="also model.pt2, for torch.export.load")
    parser.add_argument(
        "--image-size",
        type=argument_types.positive_int,
        metavar="N",
        help="side of the images, for runs that did not keep it",
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    exit_codes.when_interrupted("what was written is whole: the same command begins anew")
    out = arguments.out or (arguments.run if arguments.run.is_dir() else arguments.run.parent)
    cli.writable_folder(out, "--out")

    with exit_codes.interruptible():
        from sar_cls.engine import trained

    model = trained.load_model(arguments.run, epoch=arguments.epoch)
    size = model.image_size or ((arguments.image_size,) * 2 if arguments.image_size else None)
    if size is None and (arguments.onnx or arguments.torch_export):
        raise InputError(f"{arguments.run} does not say how large its images were: add --image-size N")
    with refusing(out, "give another --out"):
        out.mkdir(parents=True, exist_ok=True)
        written = [out / "model.safetensors"]
        with replacing(written[0]) as temporary:
            trained.save_safetensors(model, temporary)
        if arguments.torch_export and size is not None:
            written.append(out / "model.pt2")
            with replacing(written[-1]) as temporary:
                trained.save_torch_export(model, temporary, size)
        if arguments.onnx and size is not None:
            written.append(out / "model.onnx")
            with replacing(written[-1]) as temporary:
                trained.save_onnx(model, temporary, size)
    messages.result("\n".join(f"wrote {path}" for path in written))
    return 0
