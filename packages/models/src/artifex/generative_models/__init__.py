"""Diffusion models with a documented API: DDPM, DDIM and their kin, in JAX and Flax NNX."""
