"""Turns direction cosines to an exact right angle, for files whose readers refuse any other."""

from __future__ import annotations

import numpy as np

from fedmed_transforms.dicom.planes import UNIT_TOLERANCE, Vector

MOST_TURN = 0.5 * UNIT_TOLERANCE / (1 - UNIT_TOLERANCE) ** 2
"""Largest angle, in radians, by which :func:`orthonormal` turns a direction that the reader of planes accepts.

The scalar product of accepted cosines is at most ``UNIT_TOLERANCE``, and that of their unit vectors at most
``UNIT_TOLERANCE / (1 - UNIT_TOLERANCE) ** 2``. Each direction turns by half of it, 0.0005. A pixel at (x, y) mm from
the first one, which stays, moves by this angle times the root of x^2 + y^2: at most 0.125 mm at 250 mm, and 0.36 mm in
the last corner of a field of view of 500 mm.

Rounding to d decimals changes a cosine by at most h = 0.5 * 10^-d, and the scalar product by at most h times the sum
of the magnitudes of the six cosines, so by at most 2 * sqrt(3) * h. Half of this product, at 250 mm, is 0.022 mm for
four decimals and 0.0002 mm for six. For two and three decimals it would be 2.2 and 0.22 mm; the reader refuses such
cosines where the displacement would be above 0.125 mm.
"""


def orthonormal(directions: Vector) -> Vector:
    """Turns two unit vectors (2, 3) by the same angle, so that they are perpendicular."""
    half = 0.5 * (directions[0] @ directions[1])
    turned = directions - half * directions[::-1]  # the scalar product that remains is 2 * half ** 3, below 3e-10
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True) + 0.0)  # -0 becomes 0
