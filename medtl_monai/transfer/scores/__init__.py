"""Transferability scores: how well frozen features of a source fit a labelled target, before any training."""
