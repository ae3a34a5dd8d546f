"""What tests of several rooms share; pytest has tests/ on its path."""
