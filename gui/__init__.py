"""The window: PySide6 and pyqtgraph, no torch. Imports core, is never imported by it."""
