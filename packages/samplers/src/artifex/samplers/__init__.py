"""Diffusion samplers as tables of coefficients, walked by one compiled loop in JAX."""
