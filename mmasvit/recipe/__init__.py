"""From a set of one's own images to a config that trains a detector on it."""
