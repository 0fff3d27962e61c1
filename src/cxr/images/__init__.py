"""Any image file -> grey pixels -> the square that a model sees; imports no torch."""
