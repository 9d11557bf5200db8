"""The options of each command, their ranges and help; light to import."""
