"""Sweeps: runs that differ in chosen settings; planned, estimated, worked off by a queue, compared by their minima."""
