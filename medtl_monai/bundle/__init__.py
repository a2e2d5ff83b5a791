"""Tools for bundle folders; nothing of a bundle is imported or evaluated."""
