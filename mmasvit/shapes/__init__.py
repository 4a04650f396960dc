"""Generated COCO data for the demo and the tests: scenes of shapes and their masks.

Its modules are imported by name, since they need ``shapely``.
"""
