"""Faults planted in a kernel's source, to check that its tests fail."""

import importlib.util
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Fault:
    """A replacement of some text in a module.

    Attributes:
        name: description of the fault.
        module: module that is changed.
        right: text that occurs once in it.
        wrong: its replacement.
    """

    name: str
    module: ModuleType
    right: str
    wrong: str

    def planted(self, folder: Path) -> ModuleType:
        """The module with the fault, in a file of its own: Triton reads kernels from their files."""
        source = inspect.getsource(self.module)
        assert source.count(self.right) == 1, f"expected {self.right!r} once in {self.module.__name__}"
        path = folder / "faulty.py"
        path.write_text(source.replace(self.right, self.wrong))
        spec = importlib.util.spec_from_file_location("faulty", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
