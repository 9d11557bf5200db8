"""Averages of parameters over training; samples are drawn with them."""

from artifex.training.ema.average import Average as Average
from artifex.training.ema.average import Latest as Latest
from artifex.training.ema.config import Constant as Constant
from artifex.training.ema.config import EmaConfig as EmaConfig
from artifex.training.ema.config import NoEma as NoEma
from artifex.training.ema.config import Power as Power
from artifex.training.ema.constant import Ema as Ema
from artifex.training.ema.posthoc import inner_products as inner_products
from artifex.training.ema.posthoc import reconstruction as reconstruction
from artifex.training.ema.power import PowerEma as PowerEma
from artifex.training.ema.power import gamma as gamma
from artifex.training.ema.power import sigma_rel as sigma_rel
from artifex.training.ema.snapshots import Snapshots as Snapshots

__all__ = [
    "Average",
    "Constant",
    "Ema",
    "EmaConfig",
    "Latest",
    "NoEma",
    "Power",
    "PowerEma",
    "Snapshots",
    "gamma",
    "inner_products",
    "reconstruction",
    "sigma_rel",
]
