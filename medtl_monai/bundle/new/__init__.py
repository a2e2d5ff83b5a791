"""From a plan to a bundle: configurations, metadata, model card, datalist."""
