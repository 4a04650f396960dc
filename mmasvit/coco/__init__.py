"""What is in a set in COCO's format, and what is wrong with it. Needs no torch."""
