"""Preprocessing by clinical name: CT windows, MR intensities, and what pretrained networks were trained on."""
