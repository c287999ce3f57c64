"""Band statistics that belong to each published encoder, and their application.

Owns the constants of spec 2.2. Knows nothing of tiles, dates or networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_core.errors import CheckpointError

S2_CHANNELS = 10
S1_CHANNELS = 2


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation, in raw units (S2 digital numbers, S1 ``(20 log10(power) + 50) * 200``).

    Channel order is B04, B02, B03, B08, B8A, B05, B06, B07, B11, B12 for S2 and VV, VH for S1. Sets that pool both orbits
    repeat the same numbers for ascending and descending.
    """

    name: str
    s2_mean: tuple[float, ...]
    s2_std: tuple[float, ...]
    asc_mean: tuple[float, ...]
    asc_std: tuple[float, ...]
    desc_mean: tuple[float, ...]
    desc_std: tuple[float, ...]

    def __post_init__(self) -> None:
        for field, channels in _FIELDS.items():
            values = tuple(float(v) for v in getattr(self, field))
            if len(values) != channels or not np.isfinite(values).all() or (field.endswith("std") and min(values) <= 0):
                raise CheckpointError(
                    f"The normalisation set {self.name!r} is unusable: {field} needs {channels} finite numbers"
                    f"{' above zero' if field.endswith('std') else ''}."
                )
            object.__setattr__(self, field, values)

    def s2(self, raw: ArrayLike) -> NDArray[np.float32]:
        """Normalise S2 digital numbers (..., 10) to float32."""
        return _standardise(raw, self.s2_mean, self.s2_std)

    def ascending(self, raw: ArrayLike) -> NDArray[np.float32]:
        """Normalise raw S1 values (..., 2) of ascending passes to float32."""
        return _standardise(raw, self.asc_mean, self.asc_std)

    def descending(self, raw: ArrayLike) -> NDArray[np.float32]:
        """Normalise raw S1 values (..., 2) of descending passes to float32."""
        return _standardise(raw, self.desc_mean, self.desc_std)

    def to_json(self) -> str | dict[str, Any]:
        """The name of a published set, or a JSON object holding all numbers of a custom one."""
        return self.name if NORMALISATIONS.get(self.name) == self else asdict(self)

    @classmethod
    def from_json(cls, value: str | Mapping[str, Any]) -> Normalisation:
        """The inverse of :meth:`to_json`.

        Raises:
            CheckpointError: an unknown name or an incomplete object.
        """
        if isinstance(value, str):
            if value not in NORMALISATIONS:
                raise CheckpointError(
                    f"The normalisation set {value!r} is not known; known are {', '.join(sorted(NORMALISATIONS))}."
                )
            return NORMALISATIONS[value]
        try:
            return cls(str(value["name"]), **{field: tuple(value[field]) for field in _FIELDS})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The normalisation set is incomplete: it needs name, {', '.join(_FIELDS)}."
            ) from error


_FIELDS = {
    "s2_mean": S2_CHANNELS,
    "s2_std": S2_CHANNELS,
    "asc_mean": S1_CHANNELS,
    "asc_std": S1_CHANNELS,
    "desc_mean": S1_CHANNELS,
    "desc_std": S1_CHANNELS,
}


def _standardise(raw: ArrayLike, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    # All in float32 as the reference does; its epsilon of 1e-9 vanishes there, but is kept for custom tiny deviations.
    values = np.asarray(raw).astype(np.float32)
    return (values - np.asarray(mean, np.float32)) / (np.asarray(std, np.float32) + np.float32(1e-9))


# fmt: off
_V2_S2_MEAN = (1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658, 2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094)
_V2_S2_STD = (1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807, 1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046)
_V1_S1_MEAN, _V1_S1_STD = (5484.0407, 3003.7812), (1871.2334, 1726.0670)
_TEACHER_S1_MEAN, _TEACHER_S1_STD = (5862.7652, 3341.3949), (1531.8051, 1540.2014)

# Numbers published with the models (facts, spec 2.2).
NORMALISATIONS: dict[str, Normalisation] = {
    normalisation.name: normalisation
    for normalisation in (
        Normalisation(
            "v1.0",
            (1711.0938, 1308.8511, 1546.4543, 3010.1293, 3106.5083, 2068.3044, 2685.0845, 2931.5889, 2514.6928, 1899.4922),
            (1926.1026, 1862.9751, 1803.1792, 1741.7837, 1677.4543, 1888.7862, 1736.3090, 1715.8104, 1514.5199, 1398.4779),
            _V1_S1_MEAN,
            _V1_S1_STD,
            _V1_S1_MEAN,
            _V1_S1_STD,
        ),
        Normalisation(
            "v1.1-mpc",
            (2683.4553, 2223.3630, 2432.0950, 3633.1970, 3602.1755, 3006.4324, 3400.2710, 3515.6392, 2456.9163, 1983.8783),
            (2739.5217, 2846.2993, 2690.8250, 2290.0439, 2088.8970, 2673.1106, 2381.4521, 2229.5225, 1601.0942, 1495.3545),
            (5588.3291, 3025.6270),
            (1713.4646, 1693.0471),
            (5552.9683, 2955.0520),
            (1685.5857, 1677.6414),
        ),
        Normalisation(
            "v1.1-aws",
            (2793.6589, 2356.7776, 2551.0496, 3741.9229, 3713.7844, 3120.1997, 3516.3342, 3637.0342, 2501.0283, 2038.1504),
            (2810.0093, 2933.8835, 2755.6360, 2344.5027, 2145.7986, 2743.9019, 2438.8601, 2286.5977, 1680.7367, 1585.5529),
            (5697.0859, 2838.6687),
            (1671.3737, 1789.4116),
            (5759.1367, 2873.2854),
            (1583.2858, 1747.8390),
        ),
        Normalisation(
            "v2-student",
            _V2_S2_MEAN,
            _V2_S2_STD,
            (5909.3921, 3405.0322),
            (1507.1750, 1531.2615),
            (5816.1382, 3277.7576),
            (1554.6475, 1546.4733),
        ),
        Normalisation(
            "v2-teacher",
            _V2_S2_MEAN,
            _V2_S2_STD,
            _TEACHER_S1_MEAN,
            _TEACHER_S1_STD,
            _TEACHER_S1_MEAN,
            _TEACHER_S1_STD,
        ),
    )
}
# fmt: on
