"""Any dataset becomes a LabelTable, and its rows become train, val and test; imports no torch."""
