"""Checkpoints: saving, restoring and verifying them."""
