"""Bundles written from recipes."""
