"""Writes ``tests/pipelines/golden``: configs and tensors of small components, results of diffusers' pipelines.

Run in an environment with ``requirements.txt``: ``python tests/torch/golden_pipelines.py``, with a part of names for
those cases alone. Weights and noise are not stored: ``tests/pipelines/helpers/weights.py`` makes them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.pipelines.helpers.cases import CASES
from tests.torch.pipeline_cases import PARTS, built, run

FOLDER = Path(__file__).parents[1] / "pipelines" / "golden"
RESULTS = FOLDER / "results.npz"


def described(part: str) -> dict[str, Any]:
    """The config and the shapes of the tensors of a component."""
    model = built(part)
    if hasattr(model.config, "to_json_string"):
        config = json.loads(model.config.to_json_string(use_diff=False))
        config["architectures"] = [type(model).__name__]
    else:
        config = json.loads(model.to_json_string())
    return {"config": config, "tensors": {key: [*value.shape] for key, value in model.named_parameters()}}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(part)}: {json.dumps(described(part))}" for part in PARTS)
    (FOLDER / "parts.json").write_text(f"{{\n{lines}\n}}\n")
    names = {case.name for case in CASES}
    arrays = {k: v for k, v in np.load(RESULTS).items() if k.split("/")[0] in names} if len(sys.argv) > 1 else {}
    for case in (case for case in CASES if len(sys.argv) == 1 or any(part in case.name for part in sys.argv[1:])):
        found, scale = run(case)
        print(case.name, {key: float(np.abs(value).max()) for key, value in found.items()}, scale)
        arrays |= {f"{case.name}/{key}": value for key, value in found.items()}
        arrays[f"{case.name}/scale"] = np.asarray(scale, np.float32)
    np.savez_compressed(RESULTS, allow_pickle=False, **arrays)
    print(sum(path.stat().st_size for path in FOLDER.iterdir()), "bytes")
