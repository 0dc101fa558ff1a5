"""``python -m benchmarks`` is ``swarmgate``."""

from benchmarks.cli import main

main()
