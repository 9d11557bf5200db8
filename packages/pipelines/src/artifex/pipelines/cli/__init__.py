"""The command ``artifex generate``."""
