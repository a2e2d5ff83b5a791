"""Exported bundles in MONAI Deploy: operators, one application per task, and their command line."""
