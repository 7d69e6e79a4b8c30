"""Benchmarks: each module has run(), which measures on this machine and says whether the goals hold."""
