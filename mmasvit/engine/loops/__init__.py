from mmasvit.engine.loops.topology_search import TopologySearchLoop

__all__ = ['TopologySearchLoop']
