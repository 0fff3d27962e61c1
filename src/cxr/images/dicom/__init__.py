"""DICOM files: what a header says, how pixels are stored, and how stored values become grey."""
