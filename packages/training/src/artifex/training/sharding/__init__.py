"""Placement of arrays on a mesh of devices, and runs of several processes."""
