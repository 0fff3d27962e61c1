"""A table or a folder of images -> a recipe that says why it is as it is, for `cxr init`."""
