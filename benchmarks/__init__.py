"""What judges: claims, statistics, and the benchmarks that hold the suite to its own figures."""
