"""The command line as ``python -m swarmgate``."""

from benchmarks.cli import main

if __name__ == "__main__":
    main()
