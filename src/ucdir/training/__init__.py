"""Training (Sec. 4.2): the loop, its averaged weights, and its checkpoint."""
