"""The literature's label lists, known by a hash of their ids."""
