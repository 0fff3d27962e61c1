"""One file a command: the order of its work, and what it prints."""
