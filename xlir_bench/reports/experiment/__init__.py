"""What an experiment shows: tables, tests, claims and plots from its stored results alone."""
