"""Load shapes for Locust, one a file: name one beside the locustfile, or pick it in the web UI."""
