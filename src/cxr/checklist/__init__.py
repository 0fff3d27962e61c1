"""What a paper about a run must report, filled in as far as the run knows it."""
