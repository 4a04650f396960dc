"""Tables of latencies that nobody measured, quick to make and with known sums."""
from mmasvit.benchmarking import Timing
from mmasvit.latency import Conditions, LatencyTable
from mmasvit.latency.conditions import device_name
from mmasvit.latency.parts import parts_of_space


def part_ms(part, width):
    """A time that differs for all parts and grows with the width as a power of it."""
    return ({'tokenizer': 2, 're_embedding': 1, 'windows': .1, 'attention': 3, 'ffn': 2,
             'output': .2}[part.kind] * (1 + .1 * sum(part.option)) / part.stage
            * (width / 32)**1.5)


def make_table(widths=(8, 32, 64), size=32, splits_at=224, factor=1.25, **changes):
    """A table of this machine."""
    conditions = Conditions(device_name(), 'cpu', 1, (size, size), splits_at, 'float32',
                            False, '2')._replace(**changes)
    times = {part: {width: Timing(*[part_ms(part, width)] * 3) for width in widths}
             for part in parts_of_space()}
    references = {name: dict(milliseconds=time, params=2e7, macs=macs) for name, time, macs
                  in (('Swin-T', 60., 4e9), ('ResNet-50', 40., 3e9), ('Swin-S', 90., 8e9))}
    return LatencyTable(conditions, times, factor, references)


def save_table(folder, **options):
    """The path of one as a file."""
    path = folder / 'device.json'
    make_table(**options).save(path)
    return str(path)
