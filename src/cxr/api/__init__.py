"""What `import cxr` gives: a trained model, a report of predictions, batches of a dataset."""
