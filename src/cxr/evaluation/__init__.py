"""What the numbers are: predictions, metrics, thresholds, reports. Imports no torch."""
