"""Configuration of a run: frozen sections that validate themselves and build the objects that they name."""
