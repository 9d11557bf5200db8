"""Benchmarks of kernels: workloads, interleaved timing, and reports."""
