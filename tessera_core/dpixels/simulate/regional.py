"""Land covers of other climates than the north-west European one of :mod:`.covers`.

Calendars are days of year of the northern hemisphere, after the planting and harvest dates of Sacks et al. (2010) and, for
natural vegetation, the greening dates of Zhang et al. (2003); leaf areas after the global synthesis of Asner, Scurlock & Hicks
(2003); radar after Mahdianpari et al. (2017) for bogs, Bouvet et al. (2009) for rice, Woodhouse et al. (2011) for tropical
woods and Ullmann et al. (2019) for dry land. All figures are our own rounding. Add a cover by adding a row, and name it in a
climate of :mod:`.climates`.
"""

from __future__ import annotations

from tessera_core.dpixels.simulate.covers import COVERS, Backscatter, CoverType, Cycle

_DRY_LAND = ("sand", "loam", "chalk")
_RED_LAND = ("laterite", "clay")
_WOOD_RADAR = Backscatter((-10.2, -16.0), (-9.6, -14.8), (0.09, 0.11), 0.5, moisture=0.2)
_BARE_RADAR = Backscatter((-13.5, -21.0), (-12.5, -18.5), (0.10, 0.12), 1.5, moisture=0.8)

REGIONAL: dict[str, CoverType] = {
    cover.name: cover
    for cover in (
        # ------------------------------------------------------------ mediterranean
        CoverType(
            "olive grove",
            leaf="olive",
            dry="straw",
            soils=_DRY_LAND,
            base_lai=(0.9, 0.35),
            cycles=(Cycle((-40, 15), (128, 10), (1.0, 0.5), 18, 10, 25, 0.4),),  # winter-green weeds between the rows
            timing=6,
            summer=0.2,
            radar=Backscatter((-11.5, -18.5), (-10.2, -16.0), (0.14, 0.16), 0.8, moisture=0.6),
        ),
        CoverType(
            "vineyard",
            leaf="broadleaf",
            dry="autumn",
            soils=_DRY_LAND,
            base_lai=(0.25, 0.2),
            cycles=(
                Cycle((-50, 15), (95, 10), (0.7, 0.5), 18, 8, 15, 0.2, 0.6),
                Cycle((118, 7), (300, 10), (1.5, 0.4), 9, 10, 22, 0.2),
            ),
            timing=6,
            summer=0.3,
            radar=Backscatter((-11.0, -18.5), (-10.0, -16.5), (0.12, 0.14), 0.9, moisture=0.6),
        ),
        CoverType(
            "maquis",
            leaf="scrub",
            dry="litter",
            soils=("chalk", "loam"),
            base_lai=(1.8, 0.6),
            cycles=(Cycle((-20, 20), (160, 15), (0.8, 0.4), 20, 18, 30, 0.1),),
            materials=("rock",),
            built=(0.10, 0.08),
            vigour=0.25,
            summer=0.3,
            radar=Backscatter((-11.0, -17.5), (-10.3, -16.0), (0.12, 0.15), 0.9, moisture=0.5),
        ),
        CoverType(
            "winter cereal, dry",
            leaf="cereal",
            soils=_DRY_LAND,
            cycles=(
                Cycle((-30, 14), (70, 8), (1.2, 0.5), 16, 14, 0, 0.0),
                Cycle((62, 9), (152, 8), (3.2, 0.9), 11, 7, 22, 0.8),
            ),
            timing=8,
            vigour=0.25,
            summer=0.2,
            radar=Backscatter((-11.4, -19.2), (-14.2, -19.4), (0.24, 0.12), 0.8),
        ),
        # ------------------------------------------------------------ continental
        CoverType(
            "sunflower",
            leaf="legume",
            cycles=(Cycle((158, 8), (246, 9), (3.2, 0.7), 8, 6, 22, 0.3),),
            blossom="yellow",
            bloom_day=(192, 6),
            bloom_strength=(0.45, 0.15),
            summer=0.6,
            radar=Backscatter((-11.2, -18.8), (-8.8, -14.6), (0.16, 0.22), 0.7),
        ),
        CoverType(
            "soybean",
            leaf="legume",
            cycles=(Cycle((172, 8), (262, 8), (4.6, 0.8), 8, 5, 20, 0.3),),
            summer=0.6,
            radar=Backscatter((-11.2, -18.8), (-10.2, -15.8), (0.18, 0.20), 0.7),
        ),
        CoverType(
            "steppe",
            leaf="grass",
            soils=("loam", "clay", "sand"),
            base_lai=(0.25, 0.15),
            cycles=(Cycle((112, 9), (208, 22), (1.3, 0.5), 12, 24, 35, 0.7),),
            cuts=0.3,
            timing=8,
            vigour=0.3,
            summer=0.9,
            radar=Backscatter((-12.0, -19.8), (-12.2, -18.6), (0.10, 0.12), 1.0, moisture=0.9),
        ),
        # ------------------------------------------------------------ boreal
        CoverType(
            "birch wood",
            leaf="broadleaf",
            dry="autumn",
            soils=("forest floor",),
            base_lai=(0.5, 0.3),
            cycles=(Cycle((142, 5), (266, 6), (3.2, 0.7), 5, 7, 20, 0.6),),
            timing=4,
            vigour=0.18,
            summer=0.2,
            radar=Backscatter((-11.0, -16.8), (-10.2, -15.4), (0.08, 0.10), 0.5, moisture=0.3),
        ),
        CoverType(
            "peat bog",
            leaf="reed",
            dry="straw",
            soils=("peat",),
            base_lai=(0.4, 0.25),
            cycles=(Cycle((152, 6), (262, 9), (1.2, 0.5), 9, 12, 30, 0.7),),
            materials=("clear water",),
            built=(0.10, 0.10),
            summer=0.15,
            radar=Backscatter((-11.5, -18.0), (-11.6, -18.0), (0.12, 0.12), 1.1),
        ),
        CoverType(
            "lichen heath",
            leaf="scrub",
            dry="litter",
            soils=("lichen", "forest floor"),
            base_lai=(0.35, 0.2),
            cycles=(Cycle((155, 6), (258, 9), (0.7, 0.3), 9, 10, 20, 0.2),),
            materials=("rock",),
            built=(0.12, 0.10),
            summer=0.1,
            radar=Backscatter((-12.0, -19.0), (-12.0, -18.4), (0.10, 0.12), 1.0, moisture=0.6),
        ),
        # ------------------------------------------------------------ semi-arid and arid
        CoverType(
            "millet",
            leaf="maize",
            soils=("sand", "laterite"),
            cycles=(Cycle((196, 9), (274, 9), (2.0, 0.8), 9, 7, 18, 0.5),),
            timing=8,
            vigour=0.3,
            radar=Backscatter((-13.0, -20.5), (-10.5, -16.5), (0.15, 0.20), 0.9),
        ),
        CoverType(
            "shrub steppe",
            leaf="olive",
            dry="straw",
            soils=("sand", "chalk", "laterite"),
            base_lai=(0.30, 0.15),
            cycles=(Cycle((198, 14), (285, 20), (0.8, 0.5), 10, 22, 35, 0.5),),
            vigour=0.35,
            summer=0.1,
            radar=_BARE_RADAR,
        ),
        CoverType(
            "desert",
            leaf="scrub",
            soils=("sand", "chalk"),
            base_lai=(0.02, 0.02),
            materials=("rock", "gravel", "dune"),
            built=(0.55, 0.3),
            timing=10,
            radar=Backscatter((-14.5, -23.0), (-13.0, -19.5), (0.10, 0.12), 2.0, fixed=(-15.0, -23.0), moisture=0.5),
        ),
        CoverType(
            "irrigated fields",
            leaf="legume",
            soils=_DRY_LAND,
            cycles=(
                Cycle((20, 14), (118, 12), (4.0, 0.8), 9, 6, 14, 0.2),
                Cycle((178, 14), (280, 14), (4.2, 0.8), 9, 6, 14, 0.2, 0.8),
            ),
            timing=10,
            radar=Backscatter((-11.2, -18.8), (-9.6, -15.2), (0.18, 0.20), 0.8),
        ),
        # ------------------------------------------------------------ tropical, wet and dry season
        CoverType(
            "evergreen rainforest",
            leaf="rainforest",
            dry="litter",
            soils=("forest floor",),
            base_lai=(5.0, 0.6),
            timing=10,
            vigour=0.12,
            summer=0.0,
            radar=Backscatter((-8.5, -14.0), (-7.4, -12.6), (0.10, 0.12), 0.4, moisture=0.1),
        ),
        CoverType(
            "savanna",
            leaf="grass",
            dry="straw",
            soils=_RED_LAND,
            base_lai=(0.6, 0.35),
            cycles=(Cycle((150, 14), (322, 18), (2.2, 0.7), 14, 22, 40, 0.7),),
            vigour=0.25,
            summer=0.0,
            radar=Backscatter((-11.5, -18.5), (-10.6, -16.2), (0.11, 0.14), 0.8, moisture=0.8),
        ),
        CoverType(
            "rice",
            leaf="rice",
            soils=("paddy",),
            cycles=(
                Cycle((40, 12), (118, 10), (4.0, 0.8), 9, 5, 18, 0.5, 0.5),
                Cycle((202, 12), (290, 12), (4.6, 0.8), 9, 5, 18, 0.5),
            ),
            timing=9,
            summer=0.0,
            radar=Backscatter((-15.5, -23.0), (-9.4, -16.4), (0.14, 0.18), 0.9, moisture=0.3),
        ),
        CoverType(
            "sugar cane",
            leaf="maize",
            soils=_RED_LAND,
            base_lai=(0.3, 0.2),
            cycles=(
                Cycle((-150, 30), (35, 25), (3.6, 0.8), 25, 5, 25, 0.7),
                Cycle((130, 25), (400, 25), (4.4, 0.7), 25, 5, 25, 0.7),
            ),
            timing=15,
            summer=0.1,
            radar=Backscatter((-10.8, -18.0), (-8.6, -13.8), (0.14, 0.18), 0.7),
        ),
        CoverType(
            "oil palm",
            leaf="rainforest",
            dry="litter",
            soils=("laterite", "forest floor"),
            base_lai=(3.2, 0.8),
            timing=10,
            vigour=0.2,
            summer=0.0,
            radar=Backscatter((-9.5, -15.5), (-7.8, -14.2), (0.11, 0.12), 0.4, moisture=0.2),
        ),
        CoverType(
            "dry deciduous wood",
            leaf="broadleaf",
            dry="autumn",
            soils=("laterite", "forest floor"),
            base_lai=(0.7, 0.35),
            cycles=(Cycle((148, 10), (352, 20), (3.6, 0.7), 10, 22, 30, 0.5),),
            summer=0.0,
            radar=_WOOD_RADAR,
        ),
        CoverType(
            "cassava and maize",
            leaf="maize",
            soils=_RED_LAND,
            base_lai=(0.2, 0.15),
            cycles=(
                Cycle((132, 14), (215, 12), (3.0, 0.8), 9, 7, 18, 0.4),
                Cycle((246, 14), (345, 16), (2.2, 0.8), 10, 9, 18, 0.4, 0.6),
            ),
            timing=10,
            vigour=0.25,
            summer=0.0,
            radar=Backscatter((-11.2, -18.8), (-9.8, -15.4), (0.16, 0.20), 0.8),
        ),
    )
}

ALL_COVERS: dict[str, CoverType] = COVERS | REGIONAL
"""Every cover; the north-west European ones come first and in their own order."""
