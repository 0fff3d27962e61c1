"""Trained models at work: predictions for image files."""
