"""What the model sees: labels, splits, pixels, batches."""
