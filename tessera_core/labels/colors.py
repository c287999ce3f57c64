"""A colour that fits a class's name, in whatever language it is known, and that is not taken for that of another class.

Twelve colours do for most maps: people with full colour vision and with any kind of colour blindness tell every two of them
apart, which a test measures. Their hues follow the habits of land-cover maps (blue water, green woods, yellow crops, red towns).
What a name suggests is taken unless it looks like a colour that is in use.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from tessera_core.labels.model import PALETTE, LabelClass, hsl_to_hex

# As unlike as this (CIEDE2000, to whoever tells the two apart least) are two colours of a map at least, while there are such.
NEAR = 9.0
# Classes beyond which colours only differ.
MANY = 36

_WATER, _CONIFER, _WOOD, _GRASS, _CROP, _MAIZE, _TOWN, _BARE, _WETLAND, _SNOW, _ROOT, _VINE = PALETTE

# Stems of words without accents: those that begin a word and those found anywhere in one, in the order they are looked for, each
# with colours from most to least fitting. English, German, French, Spanish, Portuguese, Italian, Dutch, Swedish, Polish, Russian,
# Turkish, Chinese and some Arabic and Hindi.
HABITS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        r"conifer|pine|spruce|needle|evergreen|plantation|nadel|kiefer|fichte|resineux|sapin|pinar|pino|abete|naald|barrskog|хвой|сосн|ель\b|iglast",
        r"nadelwald|nadelholz|针叶|針葉",
        (_CONIFER, "#2f6f4f"),
    ),
    (
        r"wetland|marsh|bog\b|bogs\b|peat|swamp|mangrove|reed|sumpf|ried\b|schilf|feucht|marais|marecag|tourbi|zone humide|humedal|"
        r"pantano|marisma|turber|manglar|brejo|mangue|palud|torbier|zona umida|moeras|veen|vatmark|болот|sulak|bagn|mokrad",
        r"湿地|濕地|沼",
        (_WETLAND, "#44aa99", "#5f9ea0"),
    ),
    (
        r"rice|paddy|reis\b|riz\b|rizier|arroz|riso\b|risaia|rijst|рис\b|celtik|pirinc|ryz\b",
        r"水稻|稻",
        ("#88ccee", _WETLAND),
    ),
    (
        r"water|lake|river|sea\b|seas\b|ocean|pond|reservoir|canal|stream|wasser|gewasser|see\b|fluss|bach\b|teich|meer|eau\b|"
        r"eaux\b|lac\b|lacs\b|riviere|fleuve|etang|mer\b|agua|rio\b|rios\b|lago|mar\b|embalse|laguna|lagoa|acqua|fium|mare\b|rivier|"
        r"zee\b|vatten|vann\b|vand\b|sjo\b|вод|река|реки|озер|море|su\b|gol\b|nehir|deniz|woda|wody|jezior|rzek|ماء|مياه|نهر|पानी|जल",
        r"水|河|湖",
        (_WATER, "#56b4e9", "#1f4e8c"),
    ),
    (
        r"snow|ice\b|glacier|schnee|eis\b|gletscher|neige|glace\b|nieve|hielo|glaciar|neve\b|gelo\b|geleira|ghiacc|sneeuw|ijs\b|sno\b|"
        r"снег|лед\b|ледник|kar\b|buz\b|snieg|lod\b",
        r"雪|冰",
        (_SNOW, "#b7dcec"),
    ),
    (
        r"shrub|scrub|heath|moor|hedge|bush|clearing|heide|busch|gebusch|strauch|hecke|arbust|lande\b|landes\b|broussail|haie|maquis|"
        r"garrigue|matorral|brezal|cerrado|caatinga|brughier|macchia|cespugl|struik|heg\b|buske|ljung|кустарник|cali\b|krzew|zarosl",
        r"灌",
        ("#999933", "#7a7a2e"),
    ),
    (
        r"forest|wood|tree|broadlea|deciduous|oak|beech|jungle|rainforest|laub|baum|eiche|buche|geholz|foret|bois\b|boise|feuillu|arbre|"
        r"chene|hetre|bosque|arbol|selva|frondos|floresta|mata\b|arvore|bosc|alber|latifogl|boom\b|bomen|trad\b|лес\b|леса\b|древ|orman|"
        r"las$|lasy|drzew|غاب|वन|जंगल",
        r"wald|forst|bos\b|skog|skov|森|林",
        (_WOOD, "#6aaf5a", "#1f6b2c"),
    ),
    (
        r"grass|meadow|pasture|hay|lawn|prairie|savanna|rasen|gras|patur|herbe|gazon|pre\b|pres\b|pelouse|pasto|prado|pradera|hierba|"
        r"cesped|pastiz|pastag|capim|prat[oi]\b|pascol|erba|weiland|ang\b|луг|трав|пастбищ|cayir|mera\b|lak[ai]\b|traw|pastwisk",
        r"wiese|weide|grunland|grasland|草",
        (_GRASS, "#c5e384", "#8cc152"),
    ),
    (
        r"rape\b|rapeseed|canola|mustard|sunflower|raps|sonnenblum|colza|tournesol|giras|koolzaad|zonnebloem|рапс|подсолн|rzepak|ayc",
        r"油菜|向日葵",
        ("#f0e442", "#f7d117"),
    ),
    (r"maize|corn|sorghum|mais|maiz|milho|granturco|majs|кукуруз|misir|kukuryd", r"玉米", (_MAIZE, "#d98c00")),
    (
        r"wheat|barley|cereal|rye|oats|grain|winter crop|weizen|gerste|roggen|hafer|getreide|ble\b|orge\b|seigle|avoine|trigo|"
        r"cebada|centeno|cevada|aveia|grano\b|frument|orzo|tarwe|gerst|graan|rogge|vete\b|пшениц|ячмен|рожь|зернов|bugday|arpa\b|pszen|zboz",
        r"小麦|大麦",
        ("#ddcc77", "#c9a94b", "#eadf9e"),
    ),
    (
        r"beet|potato|vegetable|root crop|bean|pea\b|peas\b|soy|rube|kartoffel|gemuse|bohne|erbse|soja|betterav|pomme de terre|"
        r"legum|haricot|pois\b|remolach|patat|papa\b|papas\b|hortaliz|verdura|frijol|beterrab|batata|feijao|barbabiet|ortagg|fagiol|biet|"
        r"aardappel|groente|картоф|свекл|овощ|соя\b|patates|pancar|ziemniak|burak",
        r"土豆|马铃薯|大豆|蔬菜",
        (_ROOT, "#cc79a7", "#e3a7c9"),
    ),
    (
        r"vine|orchard|olive|fruit|coffee|tea\b|wein|rebe|obst|vigne|verger|olivier|vina|vinedo|olivar|frutal|huerto|cafe|vinha|pomar|"
        r"vignet|olivet|ulivet|fruttet|wijngaard|boomgaard|виноград|сад\b|сады\b|bag\b|bahce|winnic|sad\b|sady\b",
        r"果园|葡萄|茶",
        (_VINE, "#a83f73"),
    ),
    (
        r"arable|crop|farm|field|agric|cultivat|feld|landwirt|champ\b|champs\b|cultur|labour|cultiv|agri|campo|labrant|lavoura|plantio|"
        r"campi\b|coltiv|semin|akker|landbouw|aker\b|jordbruk|поле\b|поля\b|пашн|посев|tarla|tarim|pole\b|pola\b|uprawa|grunty orn",
        r"acker|农田|耕地|农",
        (_CROP, "#f2b84b", "#ddcc77"),
    ),
    (
        r"road|rail|asphalt|parking|runway|bahn|weg\b|route|chemin|rue\b|voie|carreter|camino|ferrocarril|estrada|rodov|ferrov|strad|"
        r"spoor|vag\b|дорог|yol\b|drog",
        r"strasse|路",
        ("#5a5a5a", "#7d7d7d"),
    ),
    (
        r"urban|town|city|built|building|house|settle|village|residential|roof|stadt|siedlung|gebaud|haus|bebau|dorf|wohn|ville|urbain|"
        r"bati\b|habit|maison|toit|ciudad|pueblo|edific|casas?\b|construi|cidade|vila\b|citta|paese|abitat|stad\b|dorp|gebouw|bebouw|huis|"
        r"tatort|bygg|город|застро|здани|деревн|поселок|sehir|kent|yerlesim|bina|miasto|zabudow|wies\b|مدين|عمران|शहर",
        r"城|建筑|居民|村",
        (_TOWN, "#b5371f", "#e8845c"),
    ),
    (
        r"industr|commerc|greenhouse|solar|gewerb|gewachshaus|invernadero|serre\b|промышл",
        r"工业",
        ("#aa4499", "#8a3a7d"),
    ),
    (
        r"bare|soil|sand|rock|quarry|beach|mine|desert|gravel|boden\b|offenboden|fels|steinbruch|strand|wuste|kies|brache|sol nu|"
        r"roche|carriere|plage|sable|suelo|roca|cantera|playa|desierto|arena|solo\b|rocha|pedreira|praia|areia|suolo|rocci|cava\b|spiagg|sabbi|"
        r"zand|rots|groeve|woestijn|почв|песок|песк|скал|карьер|пустын|toprak|kum\b|gleba|piasek|skala",
        r"裸|沙|岩",
        (_BARE, "#8c6d46", "#cdb48a"),
    ),
    (
        r"burn|fire|char\b|charred|brand|verbrannt|brul|incend|quemad|queimad|bruciat|гарь|пожар|yangin",
        r"火",
        ("#3b1f1f", "#661100"),
    ),
    (
        r"cloud|unsure|unknown|other|shadow|wolke|unsicher|unbekannt|sonstig|ander|schatten|nuage|autre|inconnu|ombr|nube|otr[oa]|desconoc|"
        r"sombra|nuvem|outr[oa]|desconhec|nuvol|altr[oi]|sconosciut|wolk|overig|onbekend|schaduw|облак|друг|неизвест|тень|diger|inne\b",
        r"云|其他|阴影",
        ("#9e9e9e", "#bdbdbd"),
    ),
)


def color_for(name: str, classes: Iterable[LabelClass], class_id: int) -> str:
    """``"#rrggbb"`` for a new class: what its name suggests, and never one that is, or looks like, that of another class.

    >>> color_for("Water", [], 1) == color_for("Gewässer", [], 1) == color_for("水域", [], 1)
    True
    """
    return next_color(classes, class_id, suggested(name))


def suggested(name: str) -> tuple[str, ...]:
    """Colours that a name suggests, from most to least fitting; none where it says nothing."""
    plain = _plain(name)
    return next((colors for pattern, colors in _patterns() if pattern.search(plain)), ())


def next_color(classes: Iterable[LabelClass], class_id: int, first: Iterable[str] = ()) -> str:
    """A colour that nobody takes for that of a class: of ``first``, else of the palette, else the most different of many."""
    from tessera_core._utils.colour import apart, ciede2000, lab

    taken, first = sorted({c.color for c in classes}), list(first)
    known = list(dict.fromkeys([*first, *ORDER]))
    if not taken:
        return known[0]
    if first:
        # Wheat that cannot have its own yellow gets another one rather than the blue of water.
        far = ciede2000(lab(known), lab(first[:1]))[:, 0]
        known = first + sorted(known[len(first) :], key=lambda color: far[known.index(color)])
    clear = apart(known, taken).min(1) >= NEAR
    if clear.any():
        return known[int(clear.argmax())]
    if len(taken) <= MANY:
        return _more()[int(apart(_more(), taken).min(1).argmax())]
    # Nobody tells so many apart; the golden angle keeps successive hues far from each other.
    hues = ((class_id * 137.508 + 7 * turn) % 360 for turn in itertools.count())
    return next(c for hue in hues if (c := hsl_to_hex(hue, 65, 35 + 10 * (class_id % 4))) not in taken)


def distinct_colors(count: int) -> tuple[str, ...]:
    """``count`` colours for things without names, any two as different as can be.

    >>> len(set(distinct_colors(20)))
    20
    """
    rest = (color for color in _more() if color not in _distinct())
    return (*_distinct()[:count], *itertools.islice(rest, max(0, count - len(_distinct()))))


# For names that say nothing: those first that are most unlike each other.
ORDER = (_WATER, _MAIZE, _VINE, _GRASS, _TOWN, _WETLAND, _WOOD, _ROOT, _CROP, _CONIFER, _BARE, _SNOW)


_STROKES = str.maketrans("łøıđ", "loid")


@cache
def _distinct() -> tuple[str, ...]:
    from tessera_core._utils.colour import apart

    found, many = list(ORDER), list(_more())
    least = apart(many, found).min(1)
    for _ in range(MANY - len(ORDER)):
        found.append(many[int(least.argmax())])
        least = least.clip(max=apart(many, found[-1:])[:, 0])
    return tuple(found)


@cache
def _more() -> tuple[str, ...]:
    """Colours of many hues, strengths and lightnesses; none so pale or dark that it could be paper or ink."""
    return tuple(
        hsl_to_hex(hue, saturation, lightness)
        for lightness in (50, 35, 65, 25, 78)
        for saturation in (75, 40)
        for hue in range(0, 360, 15)
    )


def _plain(text: str) -> str:
    """Small letters without accents and strokes."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return bare.translate(_STROKES)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    return tuple((re.compile(_plain(rf"\b(?:{begin})|{inside}")), colors) for begin, inside, colors in HABITS)
