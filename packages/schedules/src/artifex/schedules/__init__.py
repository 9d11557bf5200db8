"""Noise schedules, predictions, time grids and denoisers for diffusion models in JAX."""
