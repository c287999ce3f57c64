"""Tessera Studio in QGIS: label places with QGIS's own tools and see the class map follow."""


def classFactory(iface):
    """What QGIS asks a plugin for."""
    from .plugin import TesseraPlugin

    return TesseraPlugin(iface)
