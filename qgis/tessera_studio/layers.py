"""A project of Tessera Studio as layers: two of labels, which QGIS's own tools edit, the class map above the pictures.

Labels are told to the engine one by one as they change, so that what somebody changes in the app meanwhile stays. The
project on disk is the only truth: the layers are temporary and lose nothing when QGIS is closed.
"""

from __future__ import annotations

import uuid

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsDataProvider,
    QgsDefaultValue,
    QgsEditFormConfig,
    QgsEditorWidgetSetup,
    QgsFeature,
    QgsField,
    QgsFillSymbol,
    QgsGeometry,
    QgsMarkerSymbol,
    QgsPalettedRasterRenderer,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, QTimer, QVariant, pyqtSignal
from qgis.PyQt.QtGui import QColor

ID, CLASS, NOTE = "label_id", "class", "note"
KINDS = {"point": "Labelled points", "polygon": "Labelled areas"}
# Long enough to gather what one action of QGIS's does, short enough to be felt as at once.
GATHER_MS = 120
LOOK_MS = 2000
SCORE_AFTER_MS = 1200
# Custom property of our layers: the folder of their project.
FOLDER = "tessera_studio/folder"
MAP_OPACITY = 0.75


class ProjectLayers(QObject):
    """An open project and its layers.

    Args:
        client: the engine.
        told: what the engine said of the project.

    Signals:
        mapped: the answer about the map, after each change.
        scored: the answer about the score.
        refused: a sentence about something that could not be done.
        gone: a layer of labels was removed, and with it the project is closed here.
    """

    mapped = pyqtSignal(dict)
    scored = pyqtSignal(dict)
    refused = pyqtSignal(str)
    gone = pyqtSignal()

    def __init__(self, client, told, parent=None):
        super().__init__(parent)
        self.client, self.key, self.name, self.folder = client, told["project"], told["name"], told["folder"]
        self.dataset, self.years, self.year = told["dataset"], told["years"], told["year"]
        self.head, self.pictures = told["head"], told["pictures"]
        self.crs = QgsCoordinateReferenceSystem.fromWkt(told["crs"]) if told["crs"] else QgsCoordinateReferenceSystem()
        self.extent = QgsRectangle(*told["extent"])
        self.classes = told["classes"]
        self.current_class = self.classes[0]["id"] if self.classes else None
        self.confidence = False
        self.answer, self.score = None, None
        self._version = told["version"]
        self._known = {}
        # Labels that were not taken, so that the same is not said again and again.
        self._refused = {}
        self._editing = self._mapping = 0
        self._again = self._map_again = False
        self._scoring = 0
        self._taking = False
        self._closed = False
        self.map_layer = self.confidence_layer = None
        self.group = QgsProject.instance().layerTreeRoot().insertGroup(0, "{} (Tessera)".format(self.name))
        self.layers = {kind: self._label_layer(kind) for kind in KINDS}
        self._gather = self._timer(GATHER_MS, self._send)
        self._score_timer = self._timer(SCORE_AFTER_MS, self.ask_score)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self._ask_version)
        self.take_labels(told)
        self._look.start()
        self.show_pictures()
        self.ask_map()

    def _timer(self, after, work):
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(after)
        timer.timeout.connect(work)
        return timer

    def ask(self, do, done=None, **more):
        """Ask the engine something about this project; ``done`` is called only while it is open here."""
        failed = more.pop("failed", None)

        def still(call):
            def told(*values):
                if not self._closed and call is not None:
                    call(*values)

            return told

        refused = still(failed or self.refused.emit)
        return self.client.ask(do, still(done), refused, project=self.key, **more)

    # ---------------------------------------------------------------------------------------------------------- layers

    def _label_layer(self, kind):
        layer = QgsVectorLayer("Point" if kind == "point" else "Polygon", KINDS[kind], "memory")
        layer.setCrs(self.crs)
        fields = [QgsField(ID, QVariant.String), QgsField(CLASS, QVariant.Int), QgsField(NOTE, QVariant.String)]
        layer.dataProvider().addAttributes(fields)
        layer.updateFields()
        # The project keeps the labels, so QGIS need not warn that they will be lost.
        layer.setCustomProperty("skipMemoryLayersCheck", 1)
        layer.setCustomProperty(FOLDER, self.folder)
        layer.setDefaultValueDefinition(0, QgsDefaultValue("uuid('WithoutBraces')"))
        layer.setEditorWidgetSetup(0, QgsEditorWidgetSetup("Hidden", {}))
        form = layer.editFormConfig()
        suppress = getattr(QgsEditFormConfig, "SuppressOn", None)
        form.setSuppress(QgsEditFormConfig.FeatureFormSuppress.SuppressOn if suppress is None else suppress)
        layer.setEditFormConfig(form)
        layer.featureAdded.connect(self._changed)
        layer.featureDeleted.connect(self._changed)
        layer.geometryChanged.connect(self._changed)
        layer.attributeValueChanged.connect(self._changed)
        layer.afterRollBack.connect(self._changed)
        layer.willBeDeleted.connect(self._layer_gone)
        QgsProject.instance().addMapLayer(layer, False)
        self.group.addLayer(layer)
        return layer

    def _style_labels(self):
        named = {c["name"]: str(c["id"]) for c in self.classes}
        for kind, layer in self.layers.items():
            layer.setEditorWidgetSetup(1, QgsEditorWidgetSetup("ValueMap", {"map": [{n: i} for n, i in named.items()]}))
            current = "" if self.current_class is None else str(self.current_class)
            layer.setDefaultValueDefinition(1, QgsDefaultValue(current))
            categories = [QgsRendererCategory(c["id"], self._symbol(kind, c["color"]), c["name"]) for c in self.classes]
            layer.setRenderer(QgsCategorizedSymbolRenderer(CLASS, categories))
            layer.triggerRepaint()

    def _symbol(self, kind, color):
        if kind == "point":
            return QgsMarkerSymbol.createSimple(
                {"name": "circle", "size": "3", "color": color, "outline_color": "white", "outline_width": "0.5"}
            )
        fill = QColor(color)
        fill.setAlpha(90)
        options = {"color": "{},{},{},{}".format(*fill.getRgb()), "outline_color": "#222222", "outline_width": "0.4"}
        return QgsFillSymbol.createSimple(options)

    def choose_class(self, class_id):
        """The class that new labels get."""
        self.current_class = class_id
        for layer in self.layers.values():
            layer.setDefaultValueDefinition(1, QgsDefaultValue("" if class_id is None else str(class_id)))

    def show_pictures(self):
        """Add the pictures of the year below everything else."""
        for picture in self.pictures:
            self.ask("picture", self._picture_made, year=self.year, kind=picture["kind"])

    def _picture_made(self, told):
        title = told["title"] if self.year is None else "{} {}".format(told["title"], self.year)
        for node in self.group.findLayers():
            if node.name() == title:
                return
        layer = QgsRasterLayer(told["path"], title, "gdal")
        QgsProject.instance().addMapLayer(layer, False)
        node = self.group.addLayer(layer)
        node.setItemVisibilityChecked(title.startswith("True colour") or len(self.pictures) == 1)

    # ---------------------------------------------------------------------------------------------------------- labels

    def take_labels(self, told):
        """Bring the layers to what the engine says the labels are."""
        self._version = told["version"]
        self._take_classes(told["classes"])
        now = {label["id"]: label for label in told["labels"]}
        there = self._in_layers()
        gone = {kind: [] for kind in KINDS}
        fresh = {kind: [] for kind in KINDS}
        for id_ in {**there, **now}:
            feature_id, here = there.get(id_, (None, None))
            # What was changed here and is not told yet is newer, and will be sent.
            if here == self._known.get(id_) and here != now.get(id_):
                if here is not None:
                    gone[here["kind"]].append(feature_id)
                if id_ in now:
                    fresh[now[id_]["kind"]].append(now[id_])
        self._known = now
        self._taking = True
        try:
            for kind, layer in self.layers.items():
                features = [self._feature(layer, label) for label in fresh[kind]]
                if layer.isEditable():
                    layer.deleteFeatures(gone[kind])
                    layer.addFeatures(features)
                else:
                    layer.dataProvider().deleteFeatures(gone[kind])
                    layer.dataProvider().addFeatures(features)
                    layer.updateExtents()
                layer.triggerRepaint()
        finally:
            self._taking = False

    def _take_classes(self, classes):
        before, self.classes = self.classes, classes
        ids = [c["id"] for c in classes]
        if self.current_class not in ids:
            self.current_class = ids[0] if ids else None
        shown = [(c["id"], c["name"], c["color"]) for c in classes]
        if not self._known or shown != [(c["id"], c["name"], c["color"]) for c in before]:
            self._style_labels()

    def _feature(self, layer, label):
        feature = QgsFeature(layer.fields())
        feature.setAttributes([label["id"], label["class"], label["note"]])
        rings = [[QgsPointXY(x, y) for x, y in ring] for ring in label["rings"]]
        if label["kind"] == "point":
            feature.setGeometry(QgsGeometry.fromPointXY(rings[0][0]))
        else:
            feature.setGeometry(QgsGeometry.fromPolygonXY(rings))
        return feature

    def _in_layers(self):
        """What the layers hold: id -> (feature's id, label). Places without an id, or with one twice, get a new one."""
        found = {}
        for kind, layer in self.layers.items():
            for feature in layer.getFeatures():
                id_ = feature[ID]
                if not isinstance(id_, str) or not id_ or id_ in found:
                    id_ = str(uuid.uuid4())
                    if layer.isEditable():
                        layer.changeAttributeValue(feature.id(), 0, id_)
                    else:
                        layer.dataProvider().changeAttributeValues({feature.id(): {0: id_}})
                label = self._label(kind, id_, feature)
                if label is not None:
                    found[id_] = (feature.id(), label)
        return found

    def _label(self, kind, id_, feature):
        geometry = feature.geometry()
        if geometry.isEmpty():
            return None
        if kind == "point":
            place = geometry.asPoint() if not geometry.isMultipart() else geometry.asMultiPoint()[0]
            rings = [[place]]
        else:
            if geometry.isMultipart():
                parts = geometry.asMultiPolygon()
                rings = parts[0] if parts else []
            else:
                rings = geometry.asPolygon()
            rings = [ring[:-1] if len(ring) > 1 and ring[0] == ring[-1] else ring for ring in rings]
        if not rings or not rings[0]:
            return None
        value, note = feature[CLASS], feature[NOTE]
        return {
            "id": id_,
            "class": value if isinstance(value, int) else None,
            "note": note if isinstance(note, str) else "",
            "kind": kind,
            "rings": [[[place.x(), place.y()] for place in ring] for ring in rings],
        }

    def _changed(self, *_):
        if not self._taking and not self._closed:
            self._gather.start()

    def _send(self, last=False):
        """Tell the engine what is different from what it knows; the last time without waiting, telling twice does no harm."""
        if self._editing and not last:
            self._again = True
            return
        if not all(self._is_there(layer) for layer in self.layers.values()):
            return
        now = {id_: label for id_, (_, label) in self._in_layers().items()}
        put = [label for id_, label in now.items() if label not in (self._known.get(id_), self._refused.get(id_))]
        remove = [id_ for id_ in self._known if id_ not in now]
        if not put and not remove:
            return

        def done(told):
            self._editing = 0
            refused = {one["id"] for one in told["refused"]}
            for label in put:
                (self._refused if label["id"] in refused else self._known)[label["id"]] = label
            for id_ in remove:
                self._known.pop(id_, None)
            for old, new in told["renamed"].items():
                self._rename(old, new)
            for class_ in self.classes:
                class_["count"] = told["counts"].get(str(class_["id"]), 0)
            self._version = told["version"]
            for one in told["refused"]:
                self.refused.emit(one["message"])
            if self._again:
                self._again = False
                self._send()
            self.ask_map()

        def failed(sentence):
            self._editing = 0
            self.refused.emit(sentence)

        self._editing = self.ask("edit", done, failed=failed, put=put, remove=remove)

    def _rename(self, old, new):
        label = self._known.pop(old, None)
        if label is not None:
            self._known[new] = dict(label, id=new)
        self._taking = True
        try:
            for layer in self.layers.values():
                for feature in layer.getFeatures():
                    if feature[ID] == old:
                        if layer.isEditable():
                            layer.changeAttributeValue(feature.id(), 0, new)
                        else:
                            layer.dataProvider().changeAttributeValues({feature.id(): {0: new}})
        finally:
            self._taking = False

    def _ask_version(self):
        if self._editing or self._gather.isActive() or not self.client.is_running():
            return
        self.ask("version", self._version_told)

    def _version_told(self, told):
        if told["version"] != self._version and not self._editing:
            self.ask("labels", self._labels_told)

    def _labels_told(self, told):
        if not self._editing:
            self.take_labels(told)
            self.ask_map()

    # --------------------------------------------------------------------------------------------------------- the map

    def ask_map(self):
        """Ask for the map of the labels as they are now."""
        if self._mapping:
            self._map_again = True
            return

        def failed(sentence):
            self._mapping = 0
            self.refused.emit(sentence)

        self._mapping = self.ask("map", self._map_made, failed=failed, year=self.year, confidence=self.confidence)

    def _map_made(self, told):
        self._mapping = 0
        if self._map_again:
            self._map_again = False
            self.ask_map()
        self.answer = told
        counted = {c["id"]: c for c in told["classes"]}
        for class_ in self.classes:
            class_.update({k: counted[class_["id"]][k] for k in ("count", "area") if class_["id"] in counted})
        if told["path"]:
            self.map_layer = self._show(self.map_layer, told["path"], "Class map", self._class_renderer)
            self.map_layer.setOpacity(MAP_OPACITY)
        if told["confidence_path"]:
            self.confidence_layer = self._show(
                self.confidence_layer, told["confidence_path"], "Confidence, percent", None
            )
        self.mapped.emit(told)
        if told["path"] and (self.score is None or self.score["version"] != told["version"]):
            self._score_timer.start()

    def _show(self, layer, path, title, renderer):
        """The layer with the raster of a path: the one that is there, or a new one under the labels."""
        if layer is not None and QgsProject.instance().mapLayer(layer.id()) is None:
            layer = None
        if layer is None:
            layer = QgsRasterLayer(path, title, "gdal")
            layer.setCustomProperty(FOLDER, self.folder)
            QgsProject.instance().addMapLayer(layer, False)
            self.group.insertLayer(len(KINDS), layer)
            layer.willBeDeleted.connect(self._raster_gone)
        elif layer.source() != path:
            layer.setDataSource(path, title, "gdal", QgsDataProvider.ProviderOptions())
        if renderer is not None:
            layer.setRenderer(renderer(layer))
        layer.triggerRepaint()
        return layer

    def _class_renderer(self, layer):
        entries = [QgsPalettedRasterRenderer.Class(c["id"], QColor(c["color"]), c["name"]) for c in self.classes]
        return QgsPalettedRasterRenderer(layer.dataProvider(), 1, entries)

    def show_confidence(self, wanted):
        """Show how sure the map is, as a layer of its own, or take it away."""
        self.confidence = wanted
        if not wanted and self.confidence_layer is not None:
            layer, self.confidence_layer = self.confidence_layer, None
            QgsProject.instance().removeMapLayer(layer.id())
        else:
            self.ask_map()

    def ask_score(self):
        """Ask how often the map is right at places it has not seen."""
        self._scoring = self.ask("score", self._score_made, year=self.year, failed=lambda sentence: None)

    def _score_made(self, told):
        self.score = told
        self.scored.emit(told)
        if self.confidence:
            self.ask_map()

    def choose_year(self, year):
        """Show the map and pictures of another year."""
        self.year, self.score = year, None
        self.show_pictures()
        self.ask_map()

    def choose_head(self, name):
        """Make the map with another head."""

        def done(told):
            self.head, self.score = told["head"], None
            self.ask_map()

        self.ask("set_head", done, head=name)

    # --------------------------------------------------------------------------------------------------------- classes

    def add_class(self, name, color=None):
        """A new class, which new labels get from then on."""

        def done(told):
            self._version = told.pop("version")
            self.current_class = told["id"]
            self._take_classes([*self.classes, dict(told, count=0)])
            self._style_labels()
            self.ask_map()

        self.ask("add_class", done, name=name, color=color)

    def edit_class(self, class_id, **changes):
        """Rename or recolour a class."""

        def done(told):
            self._take_classes([dict(c, **told) if c["id"] == class_id else c for c in self.classes])
            if "name" in changes:
                # Its sentences name the class.
                self.score = None
            self._style_labels()
            self.ask_map()

        self.ask("edit_class", done, **dict(changes, **{"class": class_id}))

    def remove_class(self, class_id):
        """Delete a class with its labels."""
        self.ask("remove_class", self._labels_told, **{"class": class_id})

    # ----------------------------------------------------------------------------------------------------------- ending

    def _layer_gone(self):
        if not self._closed:
            # A layer that goes must not look like labels that were deleted. Other layers may not be taken away meanwhile.
            self._let_go()
            QTimer.singleShot(0, self._close_after_layer)

    def _close_after_layer(self):
        self._take_layers_away()
        self.gone.emit()

    def _raster_gone(self):
        gone = self.sender()
        if gone is self.map_layer:
            self.map_layer = None
        elif gone is self.confidence_layer:
            self.confidence_layer = None

    def is_settled(self):
        """Whether everything that was changed is told, saved and mapped."""
        waiting = self._gather.isActive() or self._editing or self._mapping or self._again or self._map_again
        return not waiting

    def close(self):
        """Let go of the project; its layers go with it. Labels are saved already."""
        if self._closed:
            return
        self._let_go()
        self._take_layers_away()

    def _let_go(self):
        """Send what is not told yet, and hear nothing more."""
        if self._gather.isActive() or self._again:
            self._gather.stop()
            self._send(last=True)
        self._closed = True
        for timer in (self._look, self._gather, self._score_timer):
            timer.stop()
        if self.client.is_running():
            self.client.ask("close", project=self.key)

    def _take_layers_away(self):
        for layer in self.layers.values():
            if self._is_there(layer) and layer.isEditable():
                layer.rollBack()
        project = QgsProject.instance()
        if not sip.isdeleted(self.group) and self.group in project.layerTreeRoot().children():
            project.removeMapLayers([node.layerId() for node in self.group.findLayers()])
            project.layerTreeRoot().removeChildNode(self.group)

    @staticmethod
    def _is_there(layer):
        return not sip.isdeleted(layer) and QgsProject.instance().mapLayer(layer.id()) is not None
