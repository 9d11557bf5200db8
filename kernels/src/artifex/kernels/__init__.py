"""Kernels for diffusion models in JAX: each a contract with a plain reference and several bodies."""
