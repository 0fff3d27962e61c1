"""Generated chest-like radiographs in the layout of a real dataset, for the demo and for tests."""
