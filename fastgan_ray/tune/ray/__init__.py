"""Start Ray, compute the resources of trials, and wrap the private parts of Ray in use."""
