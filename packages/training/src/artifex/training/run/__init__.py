"""A run: its folder, its loop, and all that it writes."""
