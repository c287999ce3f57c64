"""The Processing algorithms as QGIS finds them, in the toolbox and in the modeler."""

from __future__ import annotations

import os

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms import ChangeAlgorithm, ClassifyAlgorithm, EvaluateAlgorithm, SampleAlgorithm


class TesseraProvider(QgsProcessingProvider):
    """Four algorithms that run Tessera Studio's command line."""

    def loadAlgorithms(self):
        """Add them."""
        for algorithm in (ClassifyAlgorithm, EvaluateAlgorithm, ChangeAlgorithm, SampleAlgorithm):
            self.addAlgorithm(algorithm())

    def id(self):
        """How models name it; never another."""
        return "tessera"

    def name(self):
        """For people."""
        return "Tessera Studio"

    def icon(self):
        """The plugin's."""
        return QIcon(os.path.join(os.path.dirname(__file__), "icon.svg"))
