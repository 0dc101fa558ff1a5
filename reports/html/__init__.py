"""Reports as pages: of a record, and live in Locust's web UI."""
