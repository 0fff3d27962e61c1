"""Where a finding was seen: class activation maps."""
