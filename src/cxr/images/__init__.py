"""Any image file becomes grey pixels, and grey pixels become the square that a model sees; imports no torch."""
