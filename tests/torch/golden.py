"""Writes ``tests/backbones/golden``: small checkpoints of diffusers, inputs, outputs, and gradients of some.

Run in an environment with ``requirements.txt``: ``python tests/torch/golden.py``, with names for these cases alone.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.torch.cases import CASES, Case, build, gradients, inputs, outputs

FOLDER = Path(__file__).parents[1] / "backbones" / "golden"


def write(case: Case, folder: Path) -> None:
    model, given = build(case), inputs(case)
    found = {f"in.{key}": value for key, value in given.items()}
    with torch.no_grad():
        found |= {f"out.{key}": value for key, value in outputs(case, model, given).items()}
    if case.grad:
        found |= {f"grad.{key}": value for key, value in gradients(case, model, given).items()}
    save_file({key: value.detach().contiguous() for key, value in found.items()}, folder / "truth.safetensors")
    model.half().save_pretrained(folder)  # exactly: see `build`


if __name__ == "__main__":
    for case in (case for case in CASES if case.golden and (len(sys.argv) == 1 or case.name in sys.argv)):
        shutil.rmtree(FOLDER / case.name, ignore_errors=True)
        (FOLDER / case.name).mkdir(parents=True)
        write(case, FOLDER / case.name)
    print(sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()), "bytes")
