"""What touches the machine: device, files, signals, processes, progress."""
