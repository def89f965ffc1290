"""Predictions of published models over HTTP, by the version in use."""
