"""Curves and gauges on pyqtgraph."""
