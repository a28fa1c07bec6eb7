"""Trains encoders: parallel rows, batches of one language or across languages, and the trainer."""
