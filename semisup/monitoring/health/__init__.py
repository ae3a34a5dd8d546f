"""Warnings of trainings that go wrong."""
