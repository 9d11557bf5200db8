"""Train, sample and evaluate diffusion models in JAX; the command artifex."""
