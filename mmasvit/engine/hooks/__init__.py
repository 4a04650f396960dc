from mmasvit.engine.hooks.elastic_tokens import ElasticTokenHook, find_elastic
from mmasvit.engine.hooks.epoch_seed import EpochSeedHook, seed_worker

__all__ = ['ElasticTokenHook', 'EpochSeedHook', 'find_elastic', 'seed_worker']
