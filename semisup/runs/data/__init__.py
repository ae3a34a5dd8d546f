"""What data a run is of, and what it may be scored on."""
