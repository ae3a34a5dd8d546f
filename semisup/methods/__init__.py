"""Training methods: one file per paper."""
