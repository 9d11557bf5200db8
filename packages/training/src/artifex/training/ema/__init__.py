"""Averages of parameters over training; samples are drawn with them."""

from artifex.training.ema.average import Average as Average
from artifex.training.ema.average import Latest as Latest
from artifex.training.ema.config import Constant as Constant
from artifex.training.ema.config import EMAConfig as EMAConfig
from artifex.training.ema.config import NoEMA as NoEMA
from artifex.training.ema.config import Power as Power
from artifex.training.ema.constant import EMA as EMA
from artifex.training.ema.posthoc import inner_products as inner_products
from artifex.training.ema.posthoc import reconstruction as reconstruction
from artifex.training.ema.power import PowerEMA as PowerEMA
from artifex.training.ema.power import gamma as gamma
from artifex.training.ema.power import sigma_rel as sigma_rel
from artifex.training.ema.snapshots import Snapshots as Snapshots

__all__ = [
    "EMA",
    "Average",
    "Constant",
    "EMAConfig",
    "Latest",
    "NoEMA",
    "Power",
    "PowerEMA",
    "Snapshots",
    "gamma",
    "inner_products",
    "reconstruction",
    "sigma_rel",
]
