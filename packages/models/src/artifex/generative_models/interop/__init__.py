"""Files of published pipelines other than their networks."""

from artifex.generative_models.interop.scheduler import Scheduler as Scheduler
from artifex.generative_models.interop.scheduler import read_scheduler as read_scheduler

__all__ = ["Scheduler", "read_scheduler"]
