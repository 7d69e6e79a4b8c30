"""Will it fit: memory, disk, time and energy of a run before it starts. No torch."""
