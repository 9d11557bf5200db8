"""What all generative models share."""
