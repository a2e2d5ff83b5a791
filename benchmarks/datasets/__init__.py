"""Programs that prepare data sets for the bundles."""
