from mmasvit.engine.loops.auto_scale import AutoScaleLoop
from mmasvit.engine.loops.topology_search import TopologySearchLoop

__all__ = ['AutoScaleLoop', 'TopologySearchLoop']
