"""Published checkpoints in safetensors files: folders of diffusers and transformers, files of the original code."""

from artifex.backbones.interop.checkpoint import CheckpointError as CheckpointError
from artifex.backbones.interop.diffusers import Pipeline as Pipeline
from artifex.backbones.interop.diffusers import load_diffusers as load_diffusers
from artifex.backbones.interop.diffusers import load_pipeline as load_pipeline
from artifex.backbones.interop.diffusers import save_diffusers as save_diffusers
from artifex.backbones.interop.original import load_original as load_original
from artifex.backbones.interop.original import save_original as save_original
from artifex.backbones.interop.single_file import load_single_file as load_single_file
from artifex.backbones.interop.transformers import load_transformers as load_transformers
from artifex.backbones.interop.transformers import save_transformers as save_transformers

__all__ = [
    "CheckpointError",
    "Pipeline",
    "load_diffusers",
    "load_original",
    "load_pipeline",
    "load_single_file",
    "load_transformers",
    "save_diffusers",
    "save_original",
    "save_transformers",
]
