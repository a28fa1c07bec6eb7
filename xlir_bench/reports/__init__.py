"""Reports: what people read, from stored results only."""
