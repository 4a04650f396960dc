from mmasvit.engine.hooks.elastic_tokens import ElasticTokenHook, find_elastic
from mmasvit.engine.hooks.epoch_seed import EpochSeedHook, seed_worker
from mmasvit.engine.hooks.keeping_checkpoints import KeepingCheckpointHook
from mmasvit.engine.hooks.missed_validation import MissedValidationHook
from mmasvit.engine.hooks.pictures import PicturePerImageHook
from mmasvit.engine.hooks.steady_log import SteadyLogHook

__all__ = ['ElasticTokenHook', 'EpochSeedHook', 'KeepingCheckpointHook',
           'MissedValidationHook', 'PicturePerImageHook', 'SteadyLogHook',
           'find_elastic', 'seed_worker']
