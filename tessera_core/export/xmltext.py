"""XML as text that every reader takes: indented, and without the few characters that XML cannot hold, wherever they stand."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(root: Element, head: str = "") -> str:
    """The element as text after ``head``, with a line end; markup in names and values is escaped."""
    ElementTree.indent(root)
    return head + only_xml(ElementTree.tostring(root, encoding="unicode")) + "\n"


def only_xml(text: str) -> str:
    """A text without the characters that XML cannot hold; markup in it is not escaped."""
    return _NOT_XML.sub("", text)
