"""``python …/counted …``: run this folder as a package, wherever it is.

Run by its path it is a folder of loose modules, whose names would hide an application's own.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "swarmgate_counted"

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        NAME, here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    # Where uvicorn looks for an application.
    sys.path[0] = str(Path.cwd())
    sys.exit(importlib.import_module(f"{NAME}.serve").main())
