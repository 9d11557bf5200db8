"""Measuring kernels: what they are given, how they are timed against each other, and what is written about it."""
