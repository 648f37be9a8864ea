"""What the environment says to libraries, set before NumPy is imported: import this module first."""

import os

# an inspection's matrices are small: threads that wait for the next one cost two thirds more time of the processor
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
