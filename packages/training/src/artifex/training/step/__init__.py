"""One training step: the loss, its gradient in microbatches, and the update."""
