"""Ray itself: starting it, resources, and every private interface of it that we use."""
