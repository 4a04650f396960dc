"""Which measure predicts accuracy? Topologies measured, trained and correlated."""
from mmasvit.study.correlation import Correlation, kendall_tau
from mmasvit.study.study import Study

__all__ = ['Correlation', 'Study', 'kendall_tau']
