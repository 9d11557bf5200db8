"""Generative models with a documented API."""
