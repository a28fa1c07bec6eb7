"""Augment: makes more training rows, with a lexicon, with a translation model, or from parallel text."""
