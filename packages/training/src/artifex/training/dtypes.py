"""Dtypes by name, supported or refused in one line."""

import jax
import jax.numpy as jnp


def check_dtype(name: str, value: object) -> None:
    """Raise a ValueError unless ``value`` names a dtype that is safe for parameters.

    Args:
        name: of the setting.
        value: the dtype's name.
    """
    known = f"{name} must be float32 or bfloat16"
    try:
        dtype = jnp.dtype(str(value))
    except (TypeError, ValueError):
        raise ValueError(f"{known}, got {value!r}") from None
    if dtype == jnp.float16:
        raise ValueError(f"{known}, got float16, in which small gradients vanish without loss scaling")
    if not jnp.issubdtype(dtype, jnp.floating) or dtype.itemsize < 2:
        raise ValueError(f"{known}, got {dtype.name}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(f"{known} unless jax_enable_x64 is set, got {dtype.name}")
