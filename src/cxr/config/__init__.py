"""The configuration: every key with its type, default and meaning; YAML and overrides become one frozen Config."""
