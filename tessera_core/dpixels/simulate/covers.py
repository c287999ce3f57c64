"""What each land cover does in a year: the table behind the simulator.

A cover type is a description with spreads, ``(mean, standard deviation)``, from which :mod:`.parcels` draws parcels.
Calendars follow the crop bulletins of JRC MARS for north-west Europe and the order of events of the BBCH scale (Meier 2018), leaf
areas Breda (2003); the double-logistic season is that of Beck et
al. (2006). Radar figures (decibels at about 39 degrees of incidence) are read off Veloso et al. (2017), Vreugdenhil et al.
(2018) and Khabbazan et al. (2019) for crops and grass, Dostalova et al. (2018) for woods, and Sentinel-1's usual levels of
towns and calm water. All figures are our own rounding. Add a cover by adding a row.
"""

from __future__ import annotations

from dataclasses import dataclass

Spread = tuple[float, float]


@dataclass(frozen=True)
class Cycle:
    """One growth of leaves: up at ``rise``, down at ``fall`` (days of year, may lie outside it), ``peak`` leaf area.

    Attributes:
        rise_days, fall_days: how long going up and down takes (time constant of the logistic, days).
        yellow: how many days before the fall leaves begin to turn.
        residue: share of the ground that dead plants cover after the fall (stubble, straw), fading over some weeks.
        chance: share of parcels that have this cycle at all (catch crops, second cuts).
    """

    rise: Spread
    fall: Spread
    peak: Spread
    rise_days: float = 10.0
    fall_days: float = 7.0
    yellow: float = 20.0
    residue: float = 0.5
    chance: float = 1.0


@dataclass(frozen=True)
class Backscatter:
    """Radar levels in decibels, (VV, VH): bare ``soil`` at medium moisture, dense ``canopy``, and transparency.

    ``opacity`` is the water-cloud model's attenuation per unit of leaf area (Attema & Ulaby 1978).
    """

    soil: tuple[float, float] = (-11.3, -18.8)
    canopy: tuple[float, float] = (-10.5, -16.5)
    opacity: tuple[float, float] = (0.12, 0.20)
    spread: float = 0.8
    fixed: tuple[float, float] | None = None
    moisture: float = 1.0


@dataclass(frozen=True)
class CoverType:
    """A land cover. ``leaf``, ``dry``, ``soils``, ``materials`` and ``blossom`` are names in :mod:`.spectra`.

    Attributes:
        base_lai: leaf area that stays all year (evergreen leaves, weeds, sward).
        cycles: growths of leaves on top of it.
        cuts: mean number of mowings or heavy grazings between days 120 and 290.
        blossom, bloom_day, bloom_strength: flowering; none if the name is empty.
        materials, built: what does not grow, and the share of the ground it covers.
        timing: days by which parcels differ in everything they do (sowing date, site).
        vigour: relative spread of leaf area between parcels.
        summer: how strongly a drought bites (0 not at all, 1 fully).
    """

    name: str
    leaf: str = "grass"
    dry: str = "straw"
    soils: tuple[str, ...] = ("loam", "sand", "clay", "peat")
    base_lai: Spread = (0.1, 0.05)
    cycles: tuple[Cycle, ...] = ()
    cuts: float = 0.0
    blossom: str = ""
    bloom_day: Spread = (0.0, 0.0)
    bloom_strength: Spread = (0.0, 0.0)
    materials: tuple[str, ...] = ()
    built: Spread = (0.0, 0.0)
    timing: float = 7.0
    vigour: float = 0.18
    summer: float = 0.5
    radar: Backscatter = Backscatter()


_CATCH_CROP = Cycle((238, 10), (345, 25), (1.8, 0.9), 12, 18, 25, 0.25, 0.5)

COVERS: dict[str, CoverType] = {
    cover.name: cover
    for cover in (
        CoverType(
            "water",
            base_lai=(0.0, 0.0),
            materials=("clear water", "turbid water"),
            built=(1.0, 0.0),
            summer=0.0,
            radar=Backscatter(fixed=(-19.0, -26.5), spread=1.5),
        ),
        CoverType(
            "broadleaf wood",
            leaf="broadleaf",
            dry="autumn",
            soils=("forest floor",),
            base_lai=(0.35, 0.25),
            cycles=(Cycle((116, 6), (300, 8), (4.8, 0.8), 6, 9, 28, 0.7),),
            timing=5,
            vigour=0.15,
            summer=0.25,
            radar=Backscatter((-10.5, -16.0), (-9.6, -14.6), (0.08, 0.10), 0.5, moisture=0.25),
        ),
        CoverType(
            "conifer wood",
            leaf="conifer",
            dry="litter",
            soils=("forest floor",),
            base_lai=(4.2, 0.9),
            cycles=(Cycle((140, 8), (290, 15), (1.0, 0.4), 14, 20, 5, 0.0),),
            timing=5,
            vigour=0.15,
            summer=0.15,
            radar=Backscatter((-10.0, -16.0), (-9.9, -15.4), (0.10, 0.12), 0.5, moisture=0.2),
        ),
        CoverType(
            "scrub",
            leaf="scrub",
            dry="litter",
            base_lai=(0.9, 0.4),
            cycles=(Cycle((128, 9), (285, 14), (1.3, 0.5), 14, 16, 35, 0.4),),
            blossom="mauve",
            bloom_day=(228, 8),
            bloom_strength=(0.5, 0.4),
            timing=8,
            vigour=0.25,
            summer=0.45,
            radar=Backscatter((-11.5, -18.0), (-11.0, -17.0), (0.12, 0.16), 0.9, moisture=0.6),
        ),
        CoverType(
            "grassland",
            leaf="grass",
            base_lai=(1.8, 0.7),
            cycles=(Cycle((88, 9), (318, 16), (2.6, 0.7), 16, 22, 30, 0.15),),
            cuts=2.6,
            timing=8,
            vigour=0.22,
            summer=0.9,
            radar=Backscatter((-11.0, -18.2), (-11.4, -17.6), (0.10, 0.12), 0.8, moisture=0.8),
        ),
        CoverType(
            "winter wheat",
            leaf="cereal",
            cycles=(
                Cycle((-45, 12), (120, 4), (1.1, 0.4), 14, 14, 0, 0.0),
                Cycle((92, 7), (197, 6), (4.6, 0.7), 10, 6, 20, 0.8),
                _CATCH_CROP,
            ),
            timing=6,
            summer=0.35,
            radar=Backscatter((-11.0, -18.8), (-14.8, -19.8), (0.26, 0.12), 0.7),
        ),
        CoverType(
            "rapeseed",
            leaf="rape",
            cycles=(
                Cycle((-100, 10), (110, 6), (1.9, 0.6), 14, 14, 0, 0.0),
                Cycle((76, 7), (187, 6), (4.4, 0.7), 9, 8, 22, 0.7),
                Cycle((232, 10), (420, 20), (1.0, 0.6), 12, 20, 5, 0.0, 0.6),
            ),
            blossom="yellow",
            bloom_day=(119, 5),
            bloom_strength=(1.0, 0.2),
            timing=6,
            summer=0.25,
            radar=Backscatter((-11.0, -18.4), (-9.6, -13.6), (0.12, 0.16), 0.7),
        ),
        CoverType(
            "maize",
            leaf="maize",
            cycles=(
                Cycle((-100, 20), (100, 8), (1.4, 0.8), 14, 7, 5, 0.1, 0.55),
                Cycle((165, 7), (268, 8), (4.4, 0.7), 7.5, 5, 24, 0.6),
            ),
            timing=7,
            summer=0.7,
            radar=Backscatter((-11.4, -19.2), (-9.8, -15.4), (0.16, 0.22), 0.7),
        ),
        CoverType(
            "sugar beet",
            leaf="beet",
            cycles=(
                Cycle((-110, 20), (70, 12), (1.2, 0.8), 14, 10, 10, 0.1, 0.4),
                Cycle((158, 7), (302, 14), (4.4, 0.6), 10, 4, 0, 0.15),
            ),
            timing=6,
            summer=0.45,
            radar=Backscatter((-11.4, -19.2), (-8.8, -14.2), (0.20, 0.26), 0.7),
        ),
        CoverType(
            "potato",
            leaf="potato",
            soils=("loam", "sand"),
            cycles=(Cycle((158, 8), (246, 12), (4.2, 0.7), 7, 7, 18, 0.2), _CATCH_CROP),
            timing=7,
            summer=0.6,
            radar=Backscatter((-10.8, -19.0), (-8.8, -14.0), (0.22, 0.28), 0.7),
        ),
        CoverType(
            "spring barley",
            leaf="cereal",
            cycles=(Cycle((112, 7), (204, 6), (4.0, 0.7), 8, 6, 18, 0.8), _CATCH_CROP),
            timing=7,
            summer=0.55,
            radar=Backscatter((-11.2, -18.8), (-14.4, -19.0), (0.24, 0.12), 0.7),
        ),
        CoverType(
            "legumes",
            leaf="legume",
            cycles=(Cycle((120, 10), (222, 12), (3.6, 0.8), 9, 8, 18, 0.3), _CATCH_CROP),
            blossom="white",
            bloom_day=(165, 8),
            bloom_strength=(0.3, 0.2),
            timing=9,
            summer=0.6,
            radar=Backscatter((-11.2, -18.8), (-9.8, -15.0), (0.18, 0.20), 0.8),
        ),
        CoverType(
            "vegetables",
            leaf="potato",
            cycles=(
                Cycle((110, 20), (180, 18), (2.6, 0.9), 8, 5, 3, 0.2, 0.7),
                Cycle((205, 18), (300, 25), (3.0, 0.9), 9, 6, 4, 0.2, 0.85),
            ),
            timing=10,
            vigour=0.25,
            radar=Backscatter((-11.2, -19.0), (-9.6, -15.4), (0.18, 0.22), 0.9),
        ),
        CoverType(
            "temporary ley",
            leaf="grass",
            base_lai=(0.9, 0.4),
            cycles=(Cycle((84, 9), (325, 16), (3.4, 0.7), 12, 22, 20, 0.1),),
            cuts=4.2,
            timing=6,
            summer=0.8,
            radar=Backscatter((-11.0, -18.2), (-11.0, -17.2), (0.12, 0.14), 0.8, moisture=0.8),
        ),
        CoverType(
            "orchard",
            leaf="broadleaf",
            dry="autumn",
            base_lai=(1.1, 0.4),
            cycles=(Cycle((112, 7), (304, 10), (2.0, 0.5), 8, 10, 22, 0.3),),
            blossom="white",
            bloom_day=(108, 6),
            bloom_strength=(0.4, 0.3),
            summer=0.4,
            radar=Backscatter((-10.5, -17.5), (-9.8, -15.8), (0.12, 0.14), 0.8, moisture=0.5),
        ),
        CoverType(
            "wetland",
            leaf="reed",
            dry="straw",
            soils=("peat",),
            base_lai=(0.4, 0.3),
            cycles=(Cycle((138, 9), (282, 12), (2.8, 0.9), 14, 14, 35, 0.8),),
            materials=("clear water", "turbid water"),
            built=(0.15, 0.12),
            summer=0.2,
            radar=Backscatter((-10.5, -17.5), (-10.2, -17.2), (0.14, 0.14), 1.2),
        ),
        CoverType(
            "built-up",
            leaf="grass",
            base_lai=(0.8, 0.5),
            cycles=(Cycle((100, 10), (308, 14), (1.6, 0.8), 14, 16, 25, 0.2),),
            cuts=1.5,
            materials=("tile roof", "grey roof", "bright roof", "asphalt", "concrete"),
            built=(0.66, 0.15),
            vigour=0.3,
            summer=0.4,
            radar=Backscatter((-9.0, -16.5), (-9.5, -16.0), (0.1, 0.1), 2.2, fixed=(-4.2, -11.6), moisture=0.2),
        ),
        CoverType(
            "bare ground",
            leaf="scrub",
            soils=("sand", "chalk", "loam"),
            base_lai=(0.10, 0.10),
            cycles=(Cycle((120, 12), (270, 20), (0.4, 0.3), 16, 18, 30, 0.2),),
            materials=("rock", "gravel", "concrete"),
            built=(0.6, 0.2),
            vigour=0.4,
            summer=0.5,
            radar=Backscatter((-12.5, -20.5), (-12.0, -18.5), (0.12, 0.14), 1.4, fixed=(-12.8, -20.8)),
        ),
    )
}
