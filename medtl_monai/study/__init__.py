"""A paired study of transfer against training from scratch: run, go on after any stop, analyse, report."""
