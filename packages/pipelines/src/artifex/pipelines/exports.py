"""The homes of the public names of ``artifex.pipelines``."""

from artifex.pipelines.base import EncodedPrompts as EncodedPrompts
from artifex.pipelines.base import Pipeline as Pipeline
from artifex.pipelines.condition import Condition as Condition
from artifex.pipelines.grids import GRIDS as GRIDS
from artifex.pipelines.instruct_pix2pix import InstructPix2Pix as InstructPix2Pix
from artifex.pipelines.latents import LatentSpace as LatentSpace
from artifex.pipelines.latents import PixelSpace as PixelSpace
from artifex.pipelines.load import load_pipeline as load_pipeline
from artifex.pipelines.models import from_model as from_model
from artifex.pipelines.options import Options as Options
from artifex.pipelines.pictures import contact_sheet as contact_sheet
from artifex.pipelines.stable_diffusion import StableDiffusion as StableDiffusion
from artifex.pipelines.stable_diffusion_xl import StableDiffusionXL as StableDiffusionXL
from artifex.pipelines.text import ClipEncoder as ClipEncoder
from artifex.pipelines.unconditional import ClassConditional as ClassConditional
from artifex.pipelines.unconditional import Unconditional as Unconditional
