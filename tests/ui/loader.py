"""What a component's loader brings into the page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def carried(script: str) -> dict[str, Any]:
    """The modules, style sheets and words in a loader's script."""
    held = re.search(r'const ASSETS = "([\w+/=]+)";', script)
    assert held is not None
    return dict(json.loads(gzip.decompress(base64.b64decode(held[1]))))
