"""Arrays of two libraries in one formula, and value objects that hold them: tools for authors of schedules."""

from artifex.schedules.arrays.array_api import HostArray as HostArray
from artifex.schedules.arrays.array_api import Ints as Ints
from artifex.schedules.arrays.array_api import T as T
from artifex.schedules.arrays.array_api import array_namespace as array_namespace
from artifex.schedules.arrays.records import record as record
from artifex.schedules.arrays.records import static as static
from artifex.schedules.arrays.records import traceable as traceable

__all__ = ["HostArray", "Ints", "T", "array_namespace", "record", "static", "traceable"]
