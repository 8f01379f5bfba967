"""Measurements of speed, memory and start-up; ``python -m benchmarks`` writes docs/performance.md."""
