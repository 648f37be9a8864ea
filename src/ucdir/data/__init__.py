"""Training data: photographs on disk, and crops that are a function of (seed, step, place in the batch)."""
