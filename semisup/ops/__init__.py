"""Small tensor operations that methods and the engine share."""
