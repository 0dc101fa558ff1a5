"""Import a user's Python file by its path."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from loadtests.errors import UsageError


def load_module(path: Path) -> ModuleType:
    """Import a Python file that need not be on the path; its folder is during the import.

    Raises:
        UsageError: no such file, or importing it fails.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    name = f"swarmgate_script_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises
        del sys.modules[name]
        place = traceback.extract_tb(error.__traceback__)[-1]
        line = error.lineno if isinstance(error, SyntaxError) else place.lineno
        raise UsageError(f"{path}, line {line}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    return module
