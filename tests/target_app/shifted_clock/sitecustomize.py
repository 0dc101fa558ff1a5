"""A wall clock that is wrong by ``SHIFT_SECONDS``, for a process with this on its path."""

import os
import time

SHIFT_SECONDS = float(os.environ["SHIFT_SECONDS"])
RIGHT = time.time, time.time_ns

time.time = lambda: RIGHT[0]() + SHIFT_SECONDS
time.time_ns = lambda: RIGHT[1]() + round(SHIFT_SECONDS * 1e9)
