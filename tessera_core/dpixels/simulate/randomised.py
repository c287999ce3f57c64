"""Land covers that do not exist: food for an encoder that must not lean on the tables of :mod:`.covers`.

A simulator knows some dozens of covers, and an encoder trained on these alone learns to tell them apart and to overlook what
they never do. Here the shape of a year is drawn at random (domain randomisation, Tobin et al., IROS 2017): how often and when
leaves grow, how dense, how fast they go, what is mown or built, what the radar sees. Ranges are wider than those of any real cover.
"""

from __future__ import annotations

import numpy as np

from tessera_core.dpixels.simulate import spectra
from tessera_core.dpixels.simulate.covers import Backscatter, CoverType, Cycle

RANDOMISED_PER_WORLD = 18


def randomised_covers(count: int, rng: np.random.Generator) -> list[CoverType]:
    """``count`` random covers, named ``randomised 1`` and so on."""
    return [_randomised(f"randomised {number + 1}", rng) for number in range(count)]


def _randomised(name: str, rng: np.random.Generator) -> CoverType:
    built = float(rng.uniform(0.05, 1.0)) if rng.random() < 0.2 else 0.0
    evergreen = rng.random() < 0.35
    soil = float(rng.normal(-11.5, 1.6))
    canopy = float(rng.normal(-10.8, 2.0))
    soils = rng.permutation(list(spectra.SOILS))[: rng.integers(1, 4)]
    return CoverType(
        name,
        leaf=str(rng.choice(list(spectra.LEAVES))),
        dry=str(rng.choice(list(spectra.DRY))),
        soils=tuple(str(s) for s in soils),
        base_lai=(
            float(rng.gamma(2.0, 0.8)) if evergreen else float(rng.uniform(0.0, 0.4)),
            float(rng.uniform(0.05, 0.6)),
        ),
        cycles=tuple(_cycle(rng) for _ in range(rng.choice(4, p=(0.08, 0.5, 0.3, 0.12)))),
        cuts=float(rng.uniform(0.5, 5.0)) if rng.random() < 0.3 else 0.0,
        blossom=str(rng.choice(list(spectra.BLOSSOM))) if rng.random() < 0.2 else "",
        bloom_day=(float(rng.uniform(60, 280)), float(rng.uniform(3, 12))),
        bloom_strength=(float(rng.uniform(0.2, 1.0)), float(rng.uniform(0.1, 0.4))),
        materials=tuple(str(m) for m in rng.permutation(list(spectra.MATERIALS))[: rng.integers(1, 4)])
        if built
        else (),
        built=(built, float(rng.uniform(0.02, 0.2)) if built else 0.0),
        timing=float(rng.uniform(3, 12)),
        vigour=float(rng.uniform(0.1, 0.35)),
        summer=float(rng.uniform(0, 1)),
        radar=Backscatter(
            (soil, soil - float(rng.uniform(5, 9.5))),
            (canopy, canopy - float(rng.uniform(3.5, 8))),
            (float(rng.lognormal(-2.0, 0.4)), float(rng.lognormal(-1.9, 0.4))),
            float(rng.uniform(0.4, 1.8)),
            fixed=(float(rng.uniform(-20, -4)), float(rng.uniform(-27, -11))) if built and rng.random() < 0.7 else None,
            moisture=float(rng.uniform(0.1, 1.1)),
        ),
    )


def _cycle(rng: np.random.Generator) -> Cycle:
    rise = float(rng.uniform(-120, 270))
    return Cycle(
        (rise, float(rng.uniform(4, 18))),
        (rise + float(rng.uniform(40, 220)), float(rng.uniform(4, 18))),
        (float(rng.uniform(0.4, 5.5)), float(rng.uniform(0.2, 0.9))),
        float(rng.uniform(5, 22)),
        float(rng.uniform(4, 24)),
        float(rng.uniform(0, 40)),
        float(rng.uniform(0, 0.8)),
        float(rng.choice((1.0, rng.uniform(0.4, 1.0)))),
    )
