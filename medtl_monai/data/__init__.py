"""Data sets: explicit pairs, patient-level splits, checks before training, fingerprints."""
