"""Reflectance of the materials that landscapes are mixed from, in the ten Sentinel-2 bands.

The figures are our own rounded table, set by hand to lie within published measurements and models, not copied from any
library: leaves and canopies after PROSPECT/SAIL (Jacquemoud & Baret 1990; Verhoef 1984; Jacquemoud et al. 2009), soils after
Stoner & Baumgardner (1981) with the darkening by water of Lobell & Asner (2002), litter after Nagler et al. (2000), water
after Pope & Fry (1997) and inland turbidity after Doxaran et al. (2002), roofs and roads after Herold et al. (2004), snow
after Warren (1982), all read at the band centres of Drusch et al. (2012). Wavelengths rise from left to right in the table
because that is how spectra are read; :func:`_tile_order` brings them into the tile's order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import S2_BANDS

_COLUMNS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
_ORDER = [_COLUMNS.index(band) for band in S2_BANDS]
Spectrum = NDArray[np.float32]


def _tile_order(*values: float) -> Spectrum:
    return np.array(values, np.float32)[_ORDER]


# fmt: off
#                          B02    B03    B04    B05    B06    B07    B08    B8A    B11    B12
LEAVES: dict[str, Spectrum] = {  # an infinitely dense canopy
    "cereal":  _tile_order(.026,  .052,  .027,  .088,  .285,  .385,  .420,  .435,  .185,  .085),
    "grass":   _tile_order(.032,  .066,  .036,  .108,  .330,  .435,  .465,  .475,  .215,  .105),
    "maize":   _tile_order(.030,  .064,  .033,  .100,  .310,  .425,  .445,  .460,  .205,  .100),
    "rape":    _tile_order(.028,  .062,  .032,  .098,  .325,  .425,  .460,  .470,  .175,  .080),
    "beet":    _tile_order(.028,  .066,  .030,  .104,  .375,  .510,  .545,  .555,  .190,  .085),
    "potato":  _tile_order(.030,  .066,  .034,  .106,  .340,  .455,  .480,  .495,  .185,  .085),
    "legume":  _tile_order(.029,  .064,  .033,  .102,  .350,  .470,  .500,  .510,  .200,  .090),
    "broadleaf": _tile_order(.024, .048, .023,  .078,  .262,  .345,  .370,  .385,  .155,  .066),
    "conifer": _tile_order(.018,  .031,  .018,  .050,  .142,  .178,  .195,  .205,  .090,  .040),
    "scrub":   _tile_order(.030,  .052,  .036,  .085,  .205,  .255,  .275,  .290,  .165,  .085),
    "reed":    _tile_order(.028,  .052,  .036,  .086,  .220,  .280,  .300,  .310,  .145,  .070),
    "olive":   _tile_order(.038,  .060,  .048,  .094,  .205,  .248,  .272,  .286,  .195,  .115),
    "rice":    _tile_order(.026,  .056,  .029,  .092,  .300,  .400,  .432,  .445,  .165,  .075),
    "rainforest": _tile_order(.020, .040, .020, .068, .255, .335, .360, .372, .140, .055),
}
DRY: dict[str, Spectrum] = {  # dead standing or lying plants
    "straw":   _tile_order(.075,  .118,  .168,  .210,  .250,  .270,  .300,  .322,  .345,  .235),
    "litter":  _tile_order(.042,  .062,  .086,  .118,  .150,  .168,  .190,  .208,  .240,  .160),
    "autumn":  _tile_order(.034,  .068,  .094,  .148,  .225,  .255,  .275,  .290,  .200,  .110),
}
SOILS: dict[str, Spectrum] = {  # air-dry
    "loam":    _tile_order(.082,  .115,  .148,  .170,  .190,  .206,  .226,  .240,  .305,  .262),
    "sand":    _tile_order(.128,  .172,  .214,  .236,  .256,  .270,  .290,  .302,  .372,  .330),
    "clay":    _tile_order(.066,  .088,  .112,  .130,  .148,  .162,  .180,  .192,  .245,  .205),
    "peat":    _tile_order(.040,  .052,  .066,  .078,  .092,  .104,  .122,  .134,  .185,  .160),
    "chalk":   _tile_order(.190,  .245,  .290,  .312,  .332,  .346,  .364,  .374,  .420,  .368),
    "forest floor": _tile_order(.034, .046, .060, .076, .098, .112, .130, .142, .185, .130),
    "laterite": _tile_order(.058, .092, .168, .198, .214, .224, .240, .252, .330, .280),
    "paddy":   _tile_order(.056,  .078,  .088,  .098,  .100,  .104,  .108,  .112,  .105,  .075),
    "lichen":  _tile_order(.150,  .195,  .225,  .250,  .290,  .305,  .325,  .335,  .350,  .270),
}
MATERIALS: dict[str, Spectrum] = {
    "clear water":  _tile_order(.038, .030, .016,  .013,  .009,  .008,  .007,  .007,  .004,  .003),
    "turbid water": _tile_order(.060, .082, .064,  .062,  .038,  .036,  .028,  .026,  .010,  .006),
    "tile roof":    _tile_order(.068, .090, .150,  .176,  .196,  .206,  .216,  .226,  .268,  .244),
    "grey roof":    _tile_order(.120, .132, .142,  .150,  .158,  .164,  .170,  .178,  .204,  .196),
    "bright roof":  _tile_order(.310, .335, .350,  .358,  .364,  .366,  .370,  .372,  .352,  .318),
    "asphalt":      _tile_order(.078, .088, .098,  .106,  .114,  .120,  .126,  .132,  .160,  .150),
    "concrete":     _tile_order(.150, .178, .200,  .210,  .220,  .226,  .234,  .240,  .268,  .250),
    "rock":         _tile_order(.178, .222, .262,  .282,  .300,  .310,  .324,  .334,  .392,  .350),
    "gravel":       _tile_order(.132, .162, .192,  .208,  .224,  .234,  .248,  .258,  .306,  .280),
    "dune":         _tile_order(.150, .225, .320,  .345,  .362,  .374,  .392,  .404,  .490,  .455),
}
SNOW = _tile_order(.92,  .92,  .90,  .88,  .86,  .84,  .82,  .80,  .12,  .10)
BLOSSOM = {  # what is added to a canopy in full flower: rapeseed's petals shine in green and red, not in blue
    "yellow": _tile_order(-.004, .085, .080, .085, .045,  .025,  .030,  .030,  .020,  .015),
    "white":  _tile_order(.045, .045, .045,  .040,  .030,  .025,  .025,  .025,  .005,  .005),
    "mauve":  _tile_order(.016, .004, .020,  .016,  .008,  .004,  .002,  .002,  .004,  .004),
}
CLOUD = _tile_order(1.04, .98,  .95,  .97,  .99,  .99, 1.00,  .97,  .67,  .57)  # of a cloud's brightness
HAZE = _tile_order(1.00,  .66,  .48,  .42,  .35,  .31,  .26,  .24,  .07,  .04)  # of aerosol left in blue

# Extinction per unit of leaf area: visible light is absorbed at once, near-infrared is scattered deep into the canopy.
EXTINCTION = _tile_order(.85, .75, .85,  .68,  .50,  .43,  .40,  .40,  .52,  .62)
# How far a saturated soil keeps a dry soil's reflectance; water absorbs most in the short-wave infrared.
WET_SOIL = _tile_order(.58,  .57,  .56,  .56,  .55,  .54,  .53,  .52,  .44,  .36)
# Directions in which leaves of one species differ: chlorophyll, structure, water content.
CHLOROPHYLL = _tile_order(.10, .45,  .30,  .42,  .14,  .02,  .00,  .00,  .00,  .00)
STRUCTURE = _tile_order(.05, .10,  .05,  .20,  .75,  .95, 1.00, 1.00,  .45,  .30)
LEAF_WATER = _tile_order(.00, .00, .00,  .00,  .00,  .02,  .04,  .08,  .70, 1.00)
# fmt: on
