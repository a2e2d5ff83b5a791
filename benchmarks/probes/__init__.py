"""Frozen features of pretrained networks, judged by linear models: the parts of the programs beside this folder."""
