"""Trained models at work: predictions for image files."""

import os

# before anything here imports onnxruntime, which would keep a file of telemetry in the home folder (1.32)
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
