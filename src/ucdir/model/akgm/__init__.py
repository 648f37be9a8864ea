"""Adaptive Kernel Guidance Module (Sec. 3.2, Eq. 2): the reference, its fast equivalents, and the choice among them."""
