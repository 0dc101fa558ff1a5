"""The clients before the Autobahn test suite: ``nox -s conformance``."""
