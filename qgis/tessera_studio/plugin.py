"""What QGIS loads: an action that shows the panel, and the provider of the Processing algorithms."""

from __future__ import annotations

import os

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from .dock import TesseraDock
from .provider import TesseraProvider

ICON = os.path.join(os.path.dirname(__file__), "icon.svg")


class TesseraPlugin:
    """See the module. ``iface`` is QGIS's."""

    def __init__(self, iface):
        self.iface = iface
        self.dock = self.action = self.provider = None

    def initProcessing(self):
        """Make the algorithms known, also where QGIS has no window."""
        self.provider = TesseraProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Add the panel and its action."""
        self.initProcessing()
        self.dock = TesseraDock(self.iface, self.iface.mainWindow())
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.action = QAction(QIcon(ICON), "Tessera Studio", self.iface.mainWindow())
        self.action.setCheckable(True)
        self.dock.setToggleVisibilityAction(self.action)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToMenu("Tessera Studio", self.action)

    def unload(self):
        """Take everything away; the engine ends."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.dock is not None:
            self.dock.shut()
            self.iface.removePluginMenu("Tessera Studio", self.action)
            self.iface.removeToolBarIcon(self.action)
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = self.action = None
