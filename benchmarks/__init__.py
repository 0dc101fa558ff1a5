"""The judging side: claims, statistics, and benchmarks that hold the suite to its own figures."""
