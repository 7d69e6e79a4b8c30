"""Settings of kohya's sd-scripts, turned into a preset: command lines, configuration files, files of the GUI."""
