"""Experiments: the trainings of a recipe, each evaluated and kept, whatever happens in between."""
