"""A program that runs the server in a process of its own, as integration tests do, for tests.

``python -m tests.target_app.launcher METHOD --port N``, where METHOD starts the process (``fork``).
"""

import multiprocessing
import sys

import uvicorn


def serve(port):
    uvicorn.run("target_app.app:app", port=port)


if __name__ == "__main__":
    method, _, port = sys.argv[1:]
    process = multiprocessing.get_context(method).Process(target=serve, args=(int(port),))
    process.start()
    process.join()
    print(f"the launcher goes on after {process.exitcode}", file=sys.stderr)
