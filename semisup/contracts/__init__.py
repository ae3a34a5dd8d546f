"""What holds for every method, network and data set, as functions that anybody can run."""
