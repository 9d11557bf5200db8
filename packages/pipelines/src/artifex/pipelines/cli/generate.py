"""The work of ``artifex generate``."""

import json
import re
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from artifex.backbones.interop import CheckpointError
from artifex.command import CommandError, as_command_error
from artifex.command.folder import check_results
from artifex.pipelines.base import Pipeline, Prompt
from artifex.pipelines.load import load_pipeline
from artifex.pipelines.options import Options
from artifex.pipelines.pictures import contact_sheet
from artifex.pipelines.unconditional import ClassConditional, Unconditional

TEXT: Final = "artifex"
"""Key of the text chunk of a PNG, which holds JSON."""
SHEET: Final = "sheet.png"
SLUG: Final = 40
"""Characters of the prompt in the name of a file."""


def run(
    folder: str,
    prompts: Sequence[str],
    out: Path,
    options: Options,
    reading: Mapping[str, Any],
) -> None:
    """Draw pictures of all prompts and write them into a folder.

    Args:
        folder: see ``load_pipeline``.
        prompts: texts, or numbers or names of classes; none for a network without a condition.
        out: folder of the pictures, made once the first one is done.
        options: of the pipeline's call.
        reading: keyword arguments of ``load_pipeline``.

    Raises:
        CommandError: for options that don't fit.
    """
    check_results(out, (SHEET,), ())
    with as_command_error(ValueError, code=2), as_command_error(CheckpointError):
        pipeline = load_pipeline(folder, **reading)
    asked = [_prompt(pipeline, prompt) for prompt in prompts] or [None]
    began = time.perf_counter()
    with as_command_error(ValueError, code=2), warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _warn  # type: ignore[assignment]
        pictures = _drawn(pipeline, asked, options, out)
    seconds = time.perf_counter() - began
    files = [path for path, _ in pictures]
    if len(pictures) > 1:
        files.append(out / SHEET)
        contact_sheet([picture for _, picture in pictures]).save(files[-1])
    noun = "picture" if len(pictures) == 1 else "pictures"
    print(f"{len(pictures)} {noun} in {seconds:.1f} s")
    for path in files:
        print(path)


def _drawn(
    pipeline: Pipeline, prompts: Sequence[Prompt], options: Options, out: Path
) -> list[tuple[Path, Image.Image]]:
    """Draw and write one picture after another, so that those before an interruption are there."""
    settings = pipeline.settings(options)
    rows = pipeline.tableau(settings).rows
    found = []
    with _bar() as bar:
        task = bar.add_task("compiling", total=rows * settings.count * len(prompts))
        for index, prompt in enumerate(prompts):
            for i in range(settings.count):
                done = rows * (index * settings.count + i)

                def progress(row: int, done: int = done) -> None:
                    bar.update(task, completed=done + row, description="drawing")

                seed = settings.seed + i
                one: Options = {**options, "count": 1, "seed": seed, "progress": progress}
                (picture,) = pipeline(prompt, **one)
                out.mkdir(parents=True, exist_ok=True)
                path = out / f"{_name(prompt, index if len(prompts) > 1 else None)}{seed}.png"
                picture.save(path, pnginfo=_info(prompt, seed, options, picture))
                found.append((path, picture))
    return found


def _prompt(pipeline: Pipeline, prompt: str) -> Prompt:
    """A prompt of the command line as the family takes it."""
    if isinstance(pipeline, Unconditional):
        raise CommandError(f"PROMPT must be absent for a network without a condition, got {prompt!r}")
    if isinstance(pipeline, ClassConditional) and re.fullmatch(r"\d+", prompt):
        return int(prompt)
    return prompt


def _name(prompt: Prompt, index: int | None) -> str:
    """The begin of a file's name: the number of the prompt if there are several, and its words."""
    words = re.sub(r"[^\w]+", "-", str(prompt or "picture")).strip("-").lower()[:SLUG].strip("-")
    number = "" if index is None else f"{index:03d}-"
    return f"{number}{words or 'picture'}-"


def _info(prompt: Prompt, seed: int, options: Options, picture: Image.Image) -> PngInfo:
    """The text chunk: prompt, seed, settings and version, as JSON."""
    kept: dict[str, Any] = {key: value for key, value in options.items() if key != "progress" and value is not None}
    kept = {key: value if isinstance(value, int | float | tuple) else str(value) for key, value in kept.items()}
    size = {"size": [picture.height, picture.width]}
    text = {"prompt": prompt, **kept, **size, "count": 1, "seed": seed, "version": version("artifex-pipelines")}
    info = PngInfo()
    info.add_itxt(TEXT, json.dumps(text, ensure_ascii=False))
    return info


def _warn(message: Warning | str, *_: object) -> None:
    """Print a warning as one line on stderr."""
    print("artifex: " + " ".join(str(message).split()), file=sys.stderr)


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
