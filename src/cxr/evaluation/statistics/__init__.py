"""Point estimates, bootstrap draws, intervals and DeLong: arrays in, numbers out."""
