"""One pass over all datasets of a config before training: files, labels, patients and the plan (a leaf)."""
