"""Training (Sec. 4.2): the loop, its objectives, averaged weights and checkpoints."""
