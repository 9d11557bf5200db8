"""Options of each command, with ranges and help; heavy imports are deferred until a command runs."""
