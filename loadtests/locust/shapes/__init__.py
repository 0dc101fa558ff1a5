"""Load shapes for Locust, one per file: name one after the locustfile, or pick it in the web UI."""
