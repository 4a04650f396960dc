from mmasvit.engine.hooks.epoch_seed import EpochSeedHook, seed_worker

__all__ = ['EpochSeedHook', 'seed_worker']
