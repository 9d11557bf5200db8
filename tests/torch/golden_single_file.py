"""Writes ``tests/backbones/single_file.json.gz`` and ``.npz``: keys of the original Stable Diffusion, and outputs.

For every key of a file of the original layout the JSON lists its shape and the keys of diffusers and transformers whose
arrays it holds. The list is made by ``original_keys`` and held to diffusers' own converters, which turn such a file
into arrays under their keys: bit for bit for the small pipelines, by names and shapes on the meta device for published
sizes. The outputs are those of the networks that diffusers makes of the file.

Run in an environment with ``requirements.txt``: ``python tests/torch/golden_single_file.py``.
"""

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.backbones.helpers.original_file import diffusers_arrays, merged
from tests.torch import original_keys
from tests.torch.single_file_cases import LARGE, SMALL, Case

FOLDER = Path(__file__).parents[1] / "backbones"
Tensors = dict[str, torch.Tensor]
Sources = dict[str, list[str]]


def build(config: dict[str, Any]) -> torch.nn.Module:
    """The network of a config."""
    if "_class_name" in config:
        model: torch.nn.Module = getattr(diffusers, config["_class_name"]).from_config(config)
        return model.eval()
    kind = getattr(transformers, config["architectures"][0])
    return kind(transformers.CLIPTextConfig(**config)).eval()


def sources(component: str, config: dict[str, Any], prefix: str, keys: list[str]) -> Sources:
    """The keys of diffusers whose arrays each key of the file holds."""
    if component == "unet":
        found = original_keys.unet(keys, config["layers_per_block"])
    elif component == "vae":
        found = original_keys.vae(keys, len(config["block_out_channels"]))
    elif prefix.endswith("model."):
        found = original_keys.open_clip(keys)
    else:
        found = original_keys.clip(keys)
    out: Sources = {}
    for key, theirs in found.items():
        out.setdefault(prefix + theirs, []).append(key)
    return {
        key: sorted(parts, key=lambda part: "qkv".find(part[part.rfind("_proj") - 1])) for key, parts in out.items()
    }


def shape(key: str, parts: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape in the file of arrays with the shapes ``parts`` here."""
    first, *rest = parts[0]
    if key.endswith(".text_projection"):
        return (*rest, first)
    if ".attn_1." in key and len(rest) == 1:  # convolutions there
        return (first, *rest, 1, 1)
    return (sum(part[0] for part in parts), *rest)


def listed(case: Case) -> tuple[dict[str, dict[str, list[int]]], dict[str, Any]]:
    """The tensors of each network of diffusers, and those of the file."""
    tensors: dict[str, dict[str, list[int]]] = {}
    original: dict[str, Any] = {}
    for component, config in case.configs.items():
        with torch.device("meta"):
            shapes = {key: tuple(value.shape) for key, value in build(config).state_dict().items()}
        tensors[component] = {key: [*value] for key, value in shapes.items()}
        for key, parts in sources(component, config, case.prefixes[component], list(shapes)).items():
            original[key] = [component, [*shape(key, [shapes[part] for part in parts])], parts]
    # What Stable Diffusion 2 does not use of its OpenCLIP is in the file all the same.
    prefix = case.prefixes.get("text_encoder", "")
    if prefix == "cond_stage_model.model.":
        depth, hidden = (case.configs["text_encoder"][key] for key in ("num_hidden_layers", "hidden_size"))
        last = f"{prefix}transformer.resblocks.{depth - 1}."
        for key in [key for key in original if key.startswith(last)]:
            original[key.replace(last, f"{prefix}transformer.resblocks.{depth}.")] = ["", original[key][1], []]
        original[f"{prefix}text_projection"] = ["", [hidden, hidden], []]
    return tensors, original


def converted(case: Case, component: str, file: Tensors) -> Tensors:
    """The arrays that diffusers' own converters make of a file."""
    config, prefix = case.configs[component], case.prefixes[component]
    if component == "unet":
        return dict(convert_ldm_unet_checkpoint(dict(file), config))
    if component == "vae":
        return dict(convert_ldm_vae_checkpoint(dict(file), config))
    if not prefix.endswith("model."):
        return dict(convert_ldm_clip_checkpoint({key: value for key, value in file.items() if key.startswith(prefix)}))
    used = file
    if component == "text_encoder" and config["num_hidden_layers"] != 23:  # the names of 24 layers are fixed there
        last = f"{prefix}transformer.resblocks.{config['num_hidden_layers']}."
        used = {key: value for key, value in file.items() if not key.startswith((last, f"{prefix}text_projection"))}
    with torch.device("meta"):
        model = build(config)
    return dict(convert_open_clip_checkpoint(model, used, prefix=prefix))


def check(
    case: Case, tensors: dict[str, dict[str, list[int]]], file: Tensors, truth: dict[str, Tensors] | None
) -> None:
    """Compare names and shapes, and values if there are any, with what the converters make of the file."""
    for component, shapes in tensors.items():
        got = converted(case, component, file)
        bare = {key.removeprefix("text_model."): value for key, value in got.items()}
        assert {key: [*value.shape] for key, value in bare.items()} == {
            key.removeprefix("text_model."): value for key, value in shapes.items()
        }, component
        for key, value in (truth or {}).get(component, {}).items():
            assert torch.equal(bare[key.removeprefix("text_model.")], value), key


def networks(case: Case, file: Tensors, folder: Path) -> dict[str, torch.nn.Module]:
    """The networks that diffusers loads of a file."""
    save_file(file, folder / "file.safetensors")
    found: dict[str, torch.nn.Module] = {}
    for component, config in case.configs.items():
        if component in ("unet", "vae"):
            build(config).save_config(folder / component)
            kind = getattr(diffusers, config["_class_name"])
            found[component] = kind.from_single_file(
                str(folder / "file.safetensors"), config=str(folder / component), local_files_only=True
            ).eval()
            continue
        found[component] = model = build(config)
        arrays = converted(case, component, file)
        flat = {key.removeprefix("text_model."): value for key, value in arrays.items()}
        names = {key.removeprefix("text_model."): key for key in model.state_dict()}
        model.load_state_dict({names[key]: value for key, value in flat.items()})
    return found


def outputs(name: str, case: Case, models: dict[str, torch.nn.Module]) -> dict[str, np.ndarray]:
    """Inputs and outputs of every network."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    found: dict[str, torch.Tensor] = {}
    for component, model in models.items():
        config = case.configs[component]
        if component == "unet":
            x, t = normal(1, config.get("in_channels", 4), 8, 8), torch.tensor([151.0])
            context = normal(1, 5, config["cross_attention_dim"])
            given = {"x": x, "t": t, "context": context}
            if width := config.get("projection_class_embeddings_input_dim"):
                count = 5 if name == "refiner" else 6
                given |= {"pooled": normal(1, width - 256 * count), "ids": torch.arange(1.0, 1.0 + count)[None] * 32}
            extra = {"text_embeds": given.get("pooled"), "time_ids": given.get("ids")}
            result = {"out": model(x, t, context, added_cond_kwargs=extra).sample}
        elif component == "vae":
            given = {"x": normal(1, 3, 8, 8), "z": normal(1, 4, 2, 2)}
            result = {"mean": model.encode(given["x"]).latent_dist.mean, "decoded": model.decode(given["z"]).sample}
        else:
            ids = torch.tensor([[58, 3, 17, 40, 59, 59, 59]])
            out = model(ids)
            pooled = out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output
            given, result = {"ids": ids.int()}, {"hidden": out.last_hidden_state, "pooled": pooled}
        found |= {f"{name}/{component}/{key}": value for key, value in (given | result).items()}
    return {key: value.numpy() for key, value in found.items()}


if __name__ == "__main__":
    table: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for name, case in SMALL.items():
            tensors, original = listed(case)
            truth = {
                component: {key: torch.from_numpy(value) for key, value in diffusers_arrays(component, shapes).items()}
                for component, shapes in tensors.items()
            }
            file = {key: torch.from_numpy(value) for key, value in merged(original, tensors).items()}
            check(case, tensors, file, truth)
            with tempfile.TemporaryDirectory() as folder:
                arrays |= outputs(name, case, networks(case, file, Path(folder)))
            table[name] = {"class": case.kind, "configs": case.configs, "tensors": tensors, "original": original}
        for name, case in LARGE.items():
            tensors, original = listed(case)
            check(case, tensors, {key: torch.empty(value[1], device="meta") for key, value in original.items()}, None)
            table[name] = {"class": case.kind, "configs": case.configs,
                           "original": {key: value[1] for key, value in original.items()}}  # fmt: skip
    np.savez_compressed(FOLDER / "single_file.npz", allow_pickle=False, **arrays)
    text = json.dumps(table, separators=(",", ":")).encode()
    (FOLDER / "single_file.json.gz").write_bytes(gzip.compress(text, mtime=0))
    for name, entry in table.items():
        print(name, len(entry["original"]), "tensors in the file")
    print(sum((FOLDER / f"single_file.{end}").stat().st_size for end in ("npz", "json.gz")), "bytes")
