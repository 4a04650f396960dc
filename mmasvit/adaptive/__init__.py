from mmasvit.adaptive.revit import ReViT
from mmasvit.adaptive.thresholds import choose_exits, exit_shares, solve_thresholds

__all__ = ['ReViT', 'choose_exits', 'exit_shares', 'solve_thresholds']
