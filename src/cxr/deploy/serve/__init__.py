"""`cxr serve`: a page and endpoints over HTTP; what a request may cost is bounded before it is read."""
