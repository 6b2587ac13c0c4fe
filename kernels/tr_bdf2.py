"""The time stepping of both marches: TR-BDF2 (Bank et al. 1985), L-stable and of second order.

A step of length k has a trapezoidal stage up to ALPHA k and then a backward difference. With this
ALPHA both have one matrix, 1 - THETA k L.
"""

from __future__ import annotations

import numpy as np

ALPHA = 2.0 - np.sqrt(2.0)
THETA = 0.5 * ALPHA
# The backward difference takes BDF_1 of the stage between, less BDF_0 of the start.
BDF_1 = 1.0 / (ALPHA * (2.0 - ALPHA))
BDF_0 = (1.0 - ALPHA) ** 2 / (ALPHA * (2.0 - ALPHA))
