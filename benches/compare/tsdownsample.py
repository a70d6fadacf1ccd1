"""CPU milliseconds of tsdownsample's LTTB and MinMaxLTTB: POINTS to SAMPLE, median of TIMES runs.

Doubles with ascending doubles as x, one thread: what runq's kernels get.
"""

import statistics
import sys
import time

sys.path.pop(0)  # This folder, where the package's name is this script's.

import numpy
from tsdownsample import LTTBDownsampler, MinMaxLTTBDownsampler

points, sample, times = (int(argument) for argument in sys.argv[1:4])
x = numpy.arange(points, dtype=numpy.float64)
random = numpy.random.default_rng(7)
loss = 1.2 + 3.0 / numpy.sqrt(1.0 + 40.0 * x / points) + 0.05 * (random.random(points) - 0.5)
loss += numpy.where(random.random(points) < 1e-5, 3.0, 0.0)


def milliseconds(downsampler):
    started = time.process_time()
    downsampler.downsample(x, loss, n_out=sample, parallel=False)
    return (time.process_time() - started) * 1e3


for downsampler in (LTTBDownsampler(), MinMaxLTTBDownsampler()):
    print(statistics.median(milliseconds(downsampler) for _ in range(times)))
