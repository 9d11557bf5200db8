"""diffusers' ``scheduler_config.json``: one class there is a schedule, a prediction, a sampler and a grid here."""

from artifex.generative_models.interop.scheduler.read import read_scheduler as read_scheduler
from artifex.generative_models.interop.scheduler.value import Scheduler as Scheduler

__all__ = ["Scheduler", "read_scheduler"]
