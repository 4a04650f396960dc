from mmasvit.engine.loops.scaling import AutoScaleLoop
from mmasvit.engine.loops.search import TopologySearchLoop

__all__ = ['AutoScaleLoop', 'TopologySearchLoop']
