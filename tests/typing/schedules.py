"""Types that users of ``artifex.schedules`` get, as mypy sees them; this file is checked and never run."""

from typing import assert_type

import jax
import numpy as np

from artifex.schedules import Discrete, Epsilon, NoiseLevel, Prediction, Schedule, betas, grid
from artifex.schedules.arrays import HostArray

schedule = Discrete(betas.linear(1000))
on_the_path: Schedule = schedule
predicts: Prediction = Epsilon()

assert_type(grid.trailing(1000, 50), HostArray)
assert_type(schedule.at(np.arange(3.0)), NoiseLevel[HostArray])
assert_type(schedule.at(jax.numpy.arange(3.0)), NoiseLevel[jax.Array])
assert_type(schedule.at(np.arange(3.0)).logsnr, HostArray)
