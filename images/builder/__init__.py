"""Builds images/ from package registries and keeps the results in a cache outside the checkout."""
