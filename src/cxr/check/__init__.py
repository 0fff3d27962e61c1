"""One pass over a data set before it is trained on: files, labels, patients, and what would be trained on (a leaf)."""
