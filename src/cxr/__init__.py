"""Train, evaluate and run chest X-ray classifiers. A research tool, not a medical device."""

__version__ = "0.1.0"
