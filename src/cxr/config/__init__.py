"""The configuration: every key with type, default and meaning; YAML and overrides become a frozen Config."""
