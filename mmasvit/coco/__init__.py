"""What is in a set in COCO's format, and what is wrong with it; no torch, no mm package."""
