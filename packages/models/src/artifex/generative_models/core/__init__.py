"""Shared parts of all generative models."""
