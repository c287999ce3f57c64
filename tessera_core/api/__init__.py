"""The front door: what a notebook or a script does with embeddings, each in one call.

Everything here is thin: the same functions make the maps of the app and of the command line, so that the same labels give the
same map, byte for byte, whichever door they come through. ``import tessera_core as tessera`` offers these names; this module
is loaded with the first of them, from a file each for embeddings, labels, heads, maps and polygons.

Conventions: pixels are ``(row, col)``; boxes are ``(west, south, east, north)`` in degrees; class maps are uint8 with 0 = no
data, confidence uint8 percent with 255 = no data; measured values are float32 with NaN = no data. What is left out or missing is
told as a warning (:mod:`warnings`); what cannot be done raises a :class:`~tessera_core.errors.TesseraError` whose message says
what is wrong and what to do. ``progress(done, total, message)`` is called often, and ``cancelled()`` asked often, where given.
"""

from tessera_core.api.embeddings import coverage as coverage
from tessera_core.api.embeddings import demo as demo
from tessera_core.api.embeddings import features as features
from tessera_core.api.embeddings import fetch as fetch
from tessera_core.api.embeddings import generate as generate
from tessera_core.api.embeddings import join as join
from tessera_core.api.embeddings import open as open
from tessera_core.api.heads import find_new as find_new
from tessera_core.api.heads import keep_head as keep_head
from tessera_core.api.heads import kept_heads as kept_heads
from tessera_core.api.heads import read_review as read_review
from tessera_core.api.heads import teach_head as teach_head
from tessera_core.api.labels import read_labels as read_labels
from tessera_core.api.labels import read_values as read_values
from tessera_core.api.labels import weak_labels as weak_labels
from tessera_core.api.maps import change as change
from tessera_core.api.maps import evaluate as evaluate
from tessera_core.api.maps import load_head as load_head
from tessera_core.api.maps import make_head as make_head
from tessera_core.api.maps import map_classes as map_classes
from tessera_core.api.maps import map_values as map_values
from tessera_core.api.maps import open_maps as open_maps
from tessera_core.api.maps import write_map as write_map
from tessera_core.api.polygons import find_fields as find_fields
from tessera_core.api.polygons import zones as zones
from tessera_core.api.trust import certify as certify
from tessera_core.api.trust import compare_maps as compare_maps
from tessera_core.api.trust import validate as validate
