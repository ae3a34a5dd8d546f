"""Commands that write files for use without semisup."""
