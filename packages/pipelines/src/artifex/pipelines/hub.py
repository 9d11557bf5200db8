"""Folders by their name on the Hugging Face Hub."""

import re
from pathlib import Path
from typing import Final

from artifex.backbones.interop import CheckpointError

NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
PATTERNS: Final = ("*.json", "*/*.safetensors", "*/*.txt", "*/*.model")
"""Files that are downloaded: those of components, not the same weights in one file beside them; no pickles."""
UNUSED: Final = ("safety_checker/*", "image_encoder/*")
"""Components that no pipeline here reads."""


def local_folder(path: str | Path, variant: str | None = None, revision: str | None = None) -> Path:
    """A folder or file that exists, or that of a name such as ``stabilityai/sdxl-turbo``, downloaded at the first use.

    Args:
        path: a path, or ``owner/name``.
        variant: files of other variants are not downloaded.
        revision: a branch, tag or commit on the Hub.

    Raises:
        CheckpointError: if there is no such path, and the name can't be downloaded.
    """
    found = Path(path).expanduser()
    if found.exists():
        return found
    if not NAME.fullmatch(str(path)):
        raise CheckpointError(f"no folder {found}; a name on the Hub is owner/name")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            f"no folder {found}; to download {path} from the Hub, pip install artifex-pipelines[hub]"
        ) from None
    others = [f"*.{other}.safetensors" for other in ("fp16", "bf16", "non_ema", "ema") if other != variant]
    try:
        return Path(
            snapshot_download(
                str(path), revision=revision, allow_patterns=[*PATTERNS], ignore_patterns=[*others, *UNUSED]
            )
        )
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise CheckpointError(
            f"no folder {found}, and {path} could not be downloaded: {line[:200]}; without a connection, give the path "
            "of a folder"
        ) from error
