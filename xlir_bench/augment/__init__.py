"""Augment: more training rows made of those there are, by a lexicon or by a translation model."""
