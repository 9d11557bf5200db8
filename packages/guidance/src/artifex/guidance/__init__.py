"""Guidance for diffusion models in JAX: classifier-free and beyond, on x0."""
