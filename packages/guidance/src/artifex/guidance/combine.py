"""Rules that put a conditional and an unconditional output together."""

from jaxtyping import Array, Float

X = Float[Array, "b *d"]


def apply_guidance(conditional: X, unconditional: X, scale: float | Array) -> X:
    r"""$u + w (c - u)$: ``w = 0`` is unconditional, ``w = 1`` conditional, more pushes on.

    Its weights sum to 1, so it says the same on noise, on $x_0$ and on anything affine in them.

    Args:
        conditional: output under the condition, ``(batch, ...)``.
        unconditional: output without, of the same shape.
        scale: w, one number or an array that broadcasts to the outputs.

    Raises:
        ValueError: if the two outputs differ in shape.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """
    if conditional.shape != unconditional.shape:
        raise ValueError(
            f"conditional and unconditional must be of one shape, got {conditional.shape} and {unconditional.shape}"
        )
    return (unconditional + scale * (conditional - unconditional)).astype(conditional.dtype)
