"""From data that nobody tuned for to the settings of a bundle: inventory, fingerprint, plan."""
