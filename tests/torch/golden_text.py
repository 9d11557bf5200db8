"""Writes ``tests/backbones/text_encoders.npz`` and ``.json``: outputs of transformers' text encoders, and configs.

Run in an environment with ``requirements.txt``: ``python tests/torch/golden_text.py``. The weights are not stored: they
are made from their names and shapes by ``tests/backbones/helpers/text_weights.py``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.torch.text_cases import CASES, build, mask, outputs

FOLDER = Path(__file__).parents[1] / "backbones"

if __name__ == "__main__":
    arrays: dict[str, np.ndarray] = {}
    cases: dict[str, Any] = {}
    for case in CASES:
        model = build(case)
        given = {"ids": case.ids.astype(np.int32), "mask": mask(case)}
        found = {key: value for key, value in given.items() if value is not None} | outputs(case, model)
        arrays |= {f"{case.name}/{key}": value for key, value in found.items()}
        shapes = {key: [*value.shape] for key, value in model.state_dict().items()}
        shapes.pop("encoder.embed_tokens.weight", None)  # of the same values as `shared.weight`, and not in files
        cases[case.name] = {"config": json.loads(model.config.to_json_string(use_diff=False)), "tensors": shapes}
        cases[case.name]["config"]["architectures"] = [case.kind]
    np.savez_compressed(FOLDER / "text_encoders.npz", allow_pickle=False, **arrays)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in cases.items())
    (FOLDER / "text_encoders.json").write_text(f"{{\n{lines}\n}}\n")
