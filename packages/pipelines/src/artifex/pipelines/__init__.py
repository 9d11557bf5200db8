"""From a published folder and a prompt to pictures."""
