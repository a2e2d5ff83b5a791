"""Whether transfer helps: paired intervals over seeds and cases, Holm, labels saved, plain words."""
