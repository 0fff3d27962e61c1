"""A model's answer as DICOM objects: a structured report and secondary captures beside the source image."""
