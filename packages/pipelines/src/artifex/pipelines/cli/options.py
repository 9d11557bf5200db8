"""Options of ``artifex generate``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from artifex.command import CommandError
from artifex.command.values import MAX_COUNT, MAX_SEED, MAX_STEPS, number, path, whole_number

Size = tuple[int, int]


def generate(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder, file or name.", show_default=False)],
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="What to draw: a text, or the number of a class.", show_default=False),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path("--prompts", "file"), help="File with one prompt a line, instead of PROMPT."
        ),
    ] = None,
    negative: Annotated[str | None, typer.Option(metavar="TEXT", help="What not to draw.")] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=whole_number("--count", 1, MAX_COUNT), help="Pictures of each prompt. Default 1."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=whole_number("--steps", 1, MAX_STEPS), help="Steps of the sampler. Default 50."
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="ddim, euler, dpmpp_2m, unipc ...; by default the folder's.")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Times of the steps: trailing, karras ...; by default the folder's."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="W", parser=number("--guidance", -100, 100), help="Scale of classifier-free guidance; 1 is none."
        ),
    ] = None,
    rescale: Annotated[float | None, typer.Option(metavar="PHI", help="Rescaling of the guidance, 0 to 1.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Width and height in pixels, as 768x512.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=whole_number("--seed", 0, MAX_SEED), help="Seed of the first picture. Default 0."
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=path("--image", "file"), help="Picture to begin from.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            metavar="S", parser=number("--strength", 0, 1), help="Fraction of the steps that change it, up to 1."
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path("--mask", "file"), help="Picture that is white where to paint over the other."
        ),
    ] = None,
    image_guidance: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            parser=number("--image-guidance", -100, 100),
            help="Scale of guidance by the picture, for InstructPix2Pix.",
        ),
    ] = None,
    clip_skip: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=whole_number("--clip-skip", 0, 99), help="Last layers of the text encoder to leave out."
        ),
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Read prompts longer than the encoder's window.")] = False,
    weighted: Annotated[bool, typer.Option("--weighted", help="Read (words:1.3) as a weight.")] = False,
    dtype: Annotated[
        str | None, typer.Option(metavar="NAME", help="float32, bfloat16 or float16; by default that of the files.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=path("--tokenizer"), help="Folder of CLIP's tokenizer, which a single file lacks."
        ),
    ] = None,
    prediction: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="epsilon or v: what the network of a single file predicts. Default epsilon."),
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Variant of the files, such as fp16.")] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the pictures; created if missing.")
    ] = Path("artifex-pictures"),
) -> None:
    """Draw pictures of a prompt.

    FOLDER is a folder of diffusers, a .safetensors file, or a name on the Hugging Face Hub. Writes a PNG for each
    picture into DIR, with prompt and settings in its text, and sheet.png with all of them. What is not given is as in
    the folder.
    """
    for name, value, allowed in (
        ("--dtype", dtype, ("float32", "bfloat16", "float16")),
        ("--prediction", prediction, ("epsilon", "v")),
    ):
        if value not in (None, *allowed):
            raise CommandError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    texts = _prompts(prompt, prompts)
    given: dict[str, Any] = {
        "count": count, "steps": steps, "seed": seed, "negative": negative, "sampler": sampler, "grid": grid,
        "guidance": guidance, "rescale": rescale, "size": None if size is None else _size(size), "image": image,
        "strength": strength, "mask": mask, "image_guidance": image_guidance, "clip_skip": clip_skip,
        "long": long or None, "weighted": weighted or None,
    }  # fmt: skip
    chosen = {name: value for name, value in given.items() if value is not None}
    from artifex.pipelines.cli.generate import run
    from artifex.pipelines.options import Options

    options: Options = {**chosen}  # type: ignore[typeddict-item]
    reading = {"dtype": dtype, "variant": variant, "tokenizer": tokenizer, "prediction": prediction}
    run(folder, texts, out, options, {name: value for name, value in reading.items() if value is not None})


def _prompts(prompt: str | None, file: Path | None) -> list[str]:
    """The prompt, or the lines of a file that are not empty."""
    if file is None:
        return [] if prompt is None else [prompt]
    if prompt is not None:
        raise CommandError("PROMPT and --prompts exclude each other; give one of them")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [line for line in lines if line]
    if not texts:
        raise CommandError(f"--prompts must be a file with a prompt in each line, got {file} without any")
    return texts


def _size(text: str) -> Size:
    """Height and width of ``WIDTHxHEIGHT``."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise CommandError(f"--size must be WIDTHxHEIGHT, as 768x512, got {text!r}")
    return int(height), int(width)
