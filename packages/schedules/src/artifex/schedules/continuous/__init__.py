"""Schedules in continuous time: frozen dataclasses whose formulas serve NumPy and JAX alike."""

from artifex.schedules.continuous.cosine import CosineVP as CosineVP
from artifex.schedules.continuous.rectified_flow import RectifiedFlow as RectifiedFlow
from artifex.schedules.continuous.shifted import Shifted as Shifted
from artifex.schedules.continuous.variance_exploding import EDM as EDM
from artifex.schedules.continuous.variance_exploding import VE as VE
from artifex.schedules.continuous.variance_preserving import VP as VP
from artifex.schedules.continuous.variance_preserving import SubVP as SubVP

__all__ = ["EDM", "VE", "VP", "CosineVP", "RectifiedFlow", "Shifted", "SubVP"]
