"""Networks for diffusion models in Flax NNX."""

from artifex.backbones.autoencoder_kl import AutoencoderKL as AutoencoderKL
from artifex.backbones.autoencoder_kl_config import AutoencoderKLConfig as AutoencoderKLConfig
from artifex.backbones.base import Backbone as Backbone
from artifex.backbones.base import TextCondition as TextCondition
from artifex.backbones.clip_text import CLIPText as CLIPText
from artifex.backbones.clip_text import CLIPTextConfig as CLIPTextConfig
from artifex.backbones.clip_text import TextFeatures as TextFeatures
from artifex.backbones.dit import DiT as DiT
from artifex.backbones.dit import DiTConfig as DiTConfig
from artifex.backbones.edm2 import EDM2Config as EDM2Config
from artifex.backbones.edm2 import EDM2UNet as EDM2UNet
from artifex.backbones.embeddings import LabelEmbedding as LabelEmbedding
from artifex.backbones.embeddings import sincos_2d as sincos_2d
from artifex.backbones.embeddings import timestep_embedding as timestep_embedding
from artifex.backbones.functional import FunctionalModule as FunctionalModule
from artifex.backbones.functional import functional as functional
from artifex.backbones.mlp import MLP as MLP
from artifex.backbones.mlp import MLPConfig as MLPConfig
from artifex.backbones.mmdit import MMDiT as MMDiT
from artifex.backbones.mmdit import MMDiTConfig as MMDiTConfig
from artifex.backbones.perturb import perturbed as perturbed
from artifex.backbones.rngs import init_rngs as init_rngs
from artifex.backbones.roles import Matrices as Matrices
from artifex.backbones.roles import Role as Role
from artifex.backbones.roles import hidden_matrices as hidden_matrices
from artifex.backbones.roles import parameter_roles as parameter_roles
from artifex.backbones.t5 import T5Config as T5Config
from artifex.backbones.t5 import T5Encoder as T5Encoder
from artifex.backbones.tiled import tiled as tiled
from artifex.backbones.unet import UNet as UNet
from artifex.backbones.unet import UNetConfig as UNetConfig
from artifex.backbones.unet_conditional import UNetConditional as UNetConditional
from artifex.backbones.unet_conditional import UNetConditionalConfig as UNetConditionalConfig
from artifex.backbones.uvit import UViT as UViT
from artifex.backbones.uvit import UViTConfig as UViTConfig
from artifex.backbones.weight_norm import DirectionParam as DirectionParam
from artifex.backbones.weight_norm import force_weight_norm as force_weight_norm

__all__ = [
    "MLP",
    "AutoencoderKL",
    "AutoencoderKLConfig",
    "Backbone",
    "CLIPText",
    "CLIPTextConfig",
    "DiT",
    "DiTConfig",
    "DirectionParam",
    "EDM2Config",
    "EDM2UNet",
    "FunctionalModule",
    "LabelEmbedding",
    "MLPConfig",
    "MMDiT",
    "MMDiTConfig",
    "Matrices",
    "Role",
    "T5Config",
    "T5Encoder",
    "TextCondition",
    "TextFeatures",
    "UNet",
    "UNetConditional",
    "UNetConditionalConfig",
    "UNetConfig",
    "UViT",
    "UViTConfig",
    "force_weight_norm",
    "functional",
    "hidden_matrices",
    "init_rngs",
    "parameter_roles",
    "perturbed",
    "sincos_2d",
    "tiled",
    "timestep_embedding",
]
