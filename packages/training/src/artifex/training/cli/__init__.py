"""Subcommands of ``artifex``."""
