"""Leaderboards: pages made from stored results alone."""
