"""How long an As-ViT takes on a device: its parts timed once, any topology by their sum.

``parts`` says what a topology is made of, ``table`` holds times of parts and adds them
up, ``profile`` makes one on a device. ``measures`` brings what a table tells to searches,
scalings and studies.
"""
from mmasvit.latency.conditions import Conditions
from mmasvit.latency.measures import DetectorMeasures
from mmasvit.latency.parts import Part, parts_of
from mmasvit.latency.table import LatencyTable

__all__ = ['Conditions', 'DetectorMeasures', 'LatencyTable', 'Part', 'parts_of']
