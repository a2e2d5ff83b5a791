"""Which source fits my data: sources ranked by what a linear probe reads from their frozen features."""
