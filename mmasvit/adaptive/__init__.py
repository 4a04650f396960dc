from mmasvit.adaptive.dvt import DVT
from mmasvit.adaptive.revit import ReViT
from mmasvit.adaptive.thresholds import (best_thresholds, choose_exits, exit_shares,
                                         solve_thresholds)

__all__ = ['DVT', 'ReViT', 'best_thresholds', 'choose_exits', 'exit_shares',
           'solve_thresholds']
