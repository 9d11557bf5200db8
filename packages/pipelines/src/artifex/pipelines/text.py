"""Prompts to the vectors that a network attends to: tokens, windows, weights."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.backbones import CLIPText
from artifex.backbones.functional import functional
from artifex.backbones.interop import CheckpointError
from artifex.kernels.ranges import check_whole
from artifex.pipelines.options import Settings
from artifex.pipelines.program import Program
from artifex.pipelines.tokenizers import Tokenizer
from artifex.pipelines.weights import weighted_parts

E = TypeVar("E")


class Windows(NamedTuple):
    """A text's tokens in windows of the encoder's length.

    Attributes:
        ids: ``(windows, length)``.
        weights: of the tokens, likewise; 1 for special ones.
        cut: ids that fit into no window.
    """

    ids: np.ndarray
    weights: np.ndarray
    cut: list[int]


class Encoded(NamedTuple):
    """The vectors of texts: of their tokens, ``(batch, tokens, features)``, and of the whole, ``(batch, features)``."""

    hidden: Float[Array, "b n c"]
    pooled: Float[Array, "b p"]


class ClipEncoder:
    """A tokenizer and a CLIP text encoder.

    Args:
        tokenizer: of the encoder's vocabulary.
        network: the encoder.
        component: its name in the folder, for messages.

    Raises:
        CheckpointError: if the tokenizer has more tokens than the encoder, or longer texts.
    """

    def __init__(self, tokenizer: Tokenizer, network: CLIPText, component: str = "text_encoder") -> None:
        config = network.config
        if tokenizer.vocab_size > config.vocab_size:
            raise CheckpointError(
                f"the tokenizer of {component} has {tokenizer.vocab_size} tokens, expected at most the encoder's "
                f"{config.vocab_size}"
            )
        if tokenizer.max_length > config.max_length:
            raise CheckpointError(
                f"the tokenizer of {component} makes {tokenizer.max_length} tokens of a text, expected at most the "
                f"encoder's {config.max_length}"
            )
        self.tokenizer, self.config, self.component = tokenizer, config, component
        self.network, self.parameters = functional(network)
        self._program = Program(self._run)

    def windows(self, text: str, *, long: bool = False, weighted: bool = False) -> Windows:
        """Tokenize a text into one window, or as many as it takes if ``long``."""
        tokenizer = self.tokenizer
        ids: list[int] = []
        weights: list[float] = []
        for part, weight in weighted_parts(text) if weighted else [(text, 1.0)]:
            found = tokenizer.encode(part)
            ids += found
            weights += [weight] * len(found)
        room = tokenizer.max_length - len(tokenizer.begin) - len(tokenizer.end)
        count = max(1, -(-len(ids) // room)) if long else 1
        rows = [self._window(ids[i * room : (i + 1) * room], weights[i * room : (i + 1) * room]) for i in range(count)]
        return Windows(np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows]), ids[count * room :])

    def _window(self, ids: list[int], weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
        tokenizer, length = self.tokenizer, self.tokenizer.max_length
        full = [*tokenizer.begin, *ids, *tokenizer.end]
        row = np.full(length, tokenizer.pad_id, np.int32)
        row[: len(full)] = full
        scale = np.ones(length, np.float32)
        scale[len(tokenizer.begin) : len(tokenizer.begin) + len(weights)] = weights
        return row, scale

    def __call__(self, text: str, settings: Settings, *, skip: int = 0, norm: bool = True, windows: int = 1) -> Encoded:
        """Encode a text, each window by itself.

        Args:
            text: the text; a warning names what does not fit into the window, unless ``settings.long``.
            settings: whether the text may be long, and whether it has weights.
            skip: last layers of the encoder to leave out.
            norm: whether the last norm is applied to the vectors of the tokens.
            windows: number of windows, the last ones empty.
        """
        check_whole("clip_skip", settings.clip_skip, 0, self.config.depth - skip + settings.clip_skip)
        found = self.windows(text, long=settings.long, weighted=settings.weighted)
        if found.cut:
            warnings.warn(
                f"the prompt is longer than the {self.tokenizer.max_length} tokens of {self.component}, which does not "
                f"read {self.tokenizer.decode(found.cut)!r}; with long=True it reads all",
                stacklevel=2,
            )
        ids, weights = (list(part) for part in (found.ids, found.weights))
        empty_ids, empty_weights = self._window([], [])
        for _ in range(windows - len(ids)):
            ids.append(empty_ids)
            weights.append(empty_weights)
        encoded = [self._one(window, skip, norm) for window in ids]
        hidden = jnp.concatenate([one.hidden for one in encoded], axis=1)
        if any(np.any(row != 1) for row in weights):
            plain = jnp.tile(self._one(empty_ids, skip, norm).hidden, (1, len(ids), 1)).astype(jnp.float32)
            scale = jnp.asarray(np.concatenate(weights))[None, :, None]
            hidden = (plain + scale * (hidden - plain)).astype(hidden.dtype)
        return Encoded(hidden, encoded[0].pooled)

    def _one(self, ids: np.ndarray, skip: int, norm: bool) -> Encoded:
        return self._program(self.parameters, jnp.asarray(ids[None]), skip=skip, norm=norm)

    def _run(self, parameters: Any, ids: Array, *, skip: int, norm: bool) -> Encoded:  # noqa: ANN401 -- a state
        out: Any = self.network(parameters, ids, skip=skip, norm=norm)
        return Encoded(out.hidden, out.pooled)


def common_windows(encoders: Sequence[ClipEncoder], texts: Sequence[str], settings: Settings) -> int:
    """The number of windows that the longest of the texts takes."""
    if not settings.long:
        return 1
    found = (encoder.windows(text, long=True, weighted=settings.weighted) for encoder in encoders for text in texts)
    return max(len(one.ids) for one in found)


def present(encoders: E | None) -> E:
    """The encoders, if they have not been dropped."""
    if encoders is None:
        raise ValueError("the text encoders have been dropped: pass what encode returned before that, got a text")
    return encoders


def texts_of(prompts: Sequence[object]) -> list[str]:
    """Prompts that must be texts."""
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise ValueError(f"prompt must be a text, got {prompt!r}")
    return [str(prompt) for prompt in prompts]


def check_features(component: str, features: int, expected: int) -> None:
    """Raise a CheckpointError unless an encoder's vectors have the length that the network reads."""
    if features != expected:
        raise CheckpointError(
            f"{component} must give vectors of length {expected}, as the network takes, got {features}"
        )
