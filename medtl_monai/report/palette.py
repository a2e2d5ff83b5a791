"""Colours that stay apart for colour-blind readers and in print (Okabe and Ito, Color Universal Design, 2008)."""

from __future__ import annotations

# On grey images: light and far apart in hue and lightness.
LABEL_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
# On white paper: dark enough for lines and dots (contrast against white at least 3:1, WCAG 1.4.11).
LINE_COLOURS = ("#0072B2", "#D55E00", "#008060", "#B5588F", "#A87400", "#333333")
LINE_STYLES = ("-", "--", "-.", ":", "-", "--")
MARKERS = ("o", "D", "s", "^", "v", "P")

INK = "#1f2430"
MUTED = "#5b6472"
RULE = "#d5dae1"


def label_colour(value: int) -> str:
    """Colour of a label value (1, 2, ...); colours repeat after seven labels."""
    return LABEL_COLOURS[(value - 1) % len(LABEL_COLOURS)]
