"""The panel: what is open, its classes, how good the map is, and what can be done with it."""

from __future__ import annotations

import os
import subprocess

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import QDir, QSize, Qt, QUrl
from qgis.PyQt.QtGui import QColor, QDesktopServices, QIcon, QPixmap
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from . import environment
from .client import EngineClient
from .layers import FOLDER, ProjectLayers
from .layout import make_layout
from .settings import SettingsDialog

HERE = os.path.dirname(__file__)
WELCOME = (
    "Open a project, a pack or a folder of embeddings, take the demo region, or fetch published embeddings of what the map shows. "
    "Then add classes and label places of each."
)
ROLE = Qt.ItemDataRole.UserRole
SAVES = (
    "Project for others, without embeddings (*.tessera);;Project with its embeddings (*.tesserapack);;"
    "Class map and confidence (*.tif);;Map, labels and styles for QGIS (*.zip)"
)


class TesseraDock(QgsDockWidget):
    """See the module. ``iface`` is QGIS's."""

    def __init__(self, iface, parent=None):
        super().__init__("Tessera Studio", parent)
        self.setObjectName("TesseraStudio")
        self.iface = iface
        self.client = EngineClient(self)
        self.client.failed.connect(self.say)
        self.client.ended.connect(self._engine_ended)
        self.client.progressed.connect(self._progress)
        self.layers = None
        self._long = 0
        self._filling = False
        self._build()
        self._show_state()
        QgsProject.instance().readProject.connect(self.reopen)

    # ---------------------------------------------------------------------------------------------------------- widgets

    def _build(self):
        body = QWidget()
        self.setWidget(body)
        column = QVBoxLayout(body)
        column.addLayout(self._top_row())
        self.title = QLabel()
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.title.setWordWrap(True)
        column.addWidget(self.title)
        self.message = QLabel(WELCOME)
        self.message.setWordWrap(True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        column.addWidget(self.message)
        row = QHBoxLayout()
        self.bar = QProgressBar()
        self.stop_button = QPushButton("Stop")
        self.stop_button.clicked.connect(self._stop_long)
        row.addWidget(self.bar)
        row.addWidget(self.stop_button)
        column.addLayout(row)
        self.work = QWidget()
        column.addWidget(self.work, 1)
        inner = QVBoxLayout(self.work)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(self._choices_row())
        inner.addWidget(self._class_list(), 1)
        inner.addLayout(self._class_tools())
        inner.addLayout(self._class_row())
        inner.addLayout(self._label_row())
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        self.hint.setTextFormat(Qt.TextFormat.PlainText)
        inner.addWidget(self.hint)
        self.score = QLabel()
        self.score.setWordWrap(True)
        self.score.setTextFormat(Qt.TextFormat.PlainText)
        inner.addWidget(self.score)
        inner.addLayout(self._bottom_row())
        column.addStretch(0)

    def _top_row(self):
        row = QHBoxLayout()
        self.open_button = QToolButton()
        self.open_button.setText("Open")
        self.open_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.open_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.open_button)
        self.recent_menu = menu.addMenu("Recent projects")
        self.recent_menu.aboutToShow.connect(self._list_recent)
        menu.addAction("Project or pack from a file ...", self._choose_file)
        menu.addAction("Project or embeddings from a folder ...", self._choose_folder)
        menu.addAction("Published embeddings of what the map shows ...", self._choose_published)
        menu.addSeparator()
        menu.addAction("Demo region", lambda: self._open_long("demo"))
        self.open_button.setMenu(menu)
        row.addWidget(self.open_button)
        row.addStretch(1)
        for text, work in (("Settings", self.show_settings), ("Help", self.show_help)):
            button = QToolButton()
            button.setText(text)
            button.clicked.connect(work)
            row.addWidget(button)
        return row

    def _choices_row(self):
        row = QHBoxLayout()
        self.years = QComboBox()
        self.years.setToolTip("The year that is shown and mapped")
        self.years.currentIndexChanged.connect(self._year_chosen)
        self.heads = QComboBox()
        self.heads.setToolTip("What learns the classes from your labels")
        self.heads.currentIndexChanged.connect(self._head_chosen)
        self.sure = QCheckBox("Confidence")
        self.sure.setToolTip("Show how sure the map is, as a layer of its own")
        self.sure.toggled.connect(lambda wanted: self.layers and self.layers.show_confidence(wanted))
        row.addWidget(self.years)
        row.addWidget(self.heads, 1)
        row.addWidget(self.sure)
        return row

    def _class_list(self):
        self.classes = QTreeWidget()
        self.classes.setRootIsDecorated(False)
        self.classes.setIconSize(QSize(16, 16))
        self.classes.setMinimumHeight(110)
        self.classes.setToolTip("New labels get the class that is chosen here. Double-click for another name.")
        header = self.classes.header()
        header.setStretchLastSection(False)
        self.classes.setColumnCount(3)
        self.classes.setHeaderLabels(["Class", "Labels", "Area"])
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.classes.currentItemChanged.connect(self._class_chosen)
        self.classes.itemDoubleClicked.connect(lambda item, column: self._rename_class(item))
        self.classes.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.classes.customContextMenuRequested.connect(self._class_menu)
        return self.classes

    def _class_row(self):
        row = QHBoxLayout()
        self.new_class = QLineEdit()
        self.new_class.setPlaceholderText("New class, for example Forest")
        self.new_class.returnPressed.connect(self._add_class)
        add = QPushButton("Add")
        add.clicked.connect(self._add_class)
        row.addWidget(self.new_class, 1)
        row.addWidget(add)
        return row

    def _class_tools(self):
        row = QHBoxLayout()
        for text, tip, work in (
            ("Rename", "Another name for the chosen class", self._rename_class),
            ("Colour", "Another colour for the chosen class", self._recolour_class),
            ("Remove", "Remove the chosen class with its labels", self._remove_class),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda *_, work=work: work(self.classes.currentItem()))
            row.addWidget(button)
        return row

    def _label_row(self):
        row = QHBoxLayout()
        self.label_points = QPushButton("Label points")
        self.label_points.setToolTip("Click places of the chosen class on the map")
        self.label_points.clicked.connect(lambda: self.start_labelling("point"))
        self.label_areas = QPushButton("Label areas")
        self.label_areas.setToolTip("Draw areas of the chosen class on the map; a right click ends one")
        self.label_areas.clicked.connect(lambda: self.start_labelling("polygon"))
        row.addWidget(self.label_points)
        row.addWidget(self.label_areas)
        return row

    def _bottom_row(self):
        row = QHBoxLayout()
        self.finish_button = QPushButton("Finish the map")
        self.finish_button.setToolTip("This kind of head takes longer; what is shown until then is a quick map")
        self.finish_button.clicked.connect(self._finish)
        row.addWidget(self.finish_button)
        self.layout_button = QPushButton("Print layout")
        self.layout_button.setToolTip("A page with the map, legend, table of areas and score")
        self.layout_button.clicked.connect(self.make_layout)
        row.addWidget(self.layout_button)
        more = QToolButton()
        more.setText("More")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(more)
        menu.addAction("Take the active layer in as labels ...", self.take_layer)
        menu.addAction("Save ...", self._choose_save)
        menu.addAction("Open in Tessera Studio", self.open_in_studio)
        menu.addSeparator()
        menu.addAction("Close this project", self.close_project)
        more.setMenu(menu)
        row.addWidget(more)
        return row

    # ------------------------------------------------------------------------------------------------------------ state

    def say(self, sentence):
        """A sentence at the top of the panel."""
        self.message.setText(sentence)
        self.message.setVisible(bool(sentence))

    def _show_state(self):
        layers = self.layers
        self.work.setVisible(layers is not None)
        self.bar.setVisible(bool(self._long))
        self.stop_button.setVisible(bool(self._long))
        self.title.setVisible(layers is not None)
        if layers is None:
            return
        self.title.setText("{} ({})".format(layers.name, layers.dataset))
        answer = layers.answer or {}
        self.hint.setText(
            answer.get("hint") or ("A quick map, until the map is finished." if answer.get("preview") else "")
        )
        self.hint.setVisible(bool(self.hint.text()))
        self.finish_button.setVisible(bool(answer.get("preview")))
        self.layout_button.setEnabled(layers.map_layer is not None)
        for button in (self.label_points, self.label_areas):
            button.setEnabled(bool(layers.classes))
        score = layers.score or {}
        self.score.setText("\n".join(score.get("sentences", [])[:2]))
        self.score.setVisible(bool(self.score.text()))
        self._fill_classes()

    def _fill_classes(self):
        self._filling = True
        try:
            self.classes.clear()
            unit = (self.layers.answer or {}).get("unit", "ha")
            for c in self.layers.classes:
                area = c.get("area")
                told = "" if area is None else ("{:,.1f} ha" if unit == "ha" else "{:,.0f} px").format(area)
                item = QTreeWidgetItem([c["name"], str(c.get("count", 0)), told])
                swatch = QPixmap(16, 16)
                swatch.fill(QColor(c["color"]))
                item.setIcon(0, QIcon(swatch))
                item.setData(0, ROLE, c["id"])
                for column in (1, 2):
                    item.setTextAlignment(column, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                self.classes.addTopLevelItem(item)
                if c["id"] == self.layers.current_class:
                    self.classes.setCurrentItem(item)
        finally:
            self._filling = False

    # ---------------------------------------------------------------------------------------------------------- opening

    def _list_recent(self):
        self.recent_menu.clear()
        self.recent_menu.addAction("Looking ...").setEnabled(False)

        def done(told):
            self.recent_menu.clear()
            for entry in told["projects"][:15]:
                action = self.recent_menu.addAction(entry["name"].replace("&", "&&"))
                action.triggered.connect(lambda *_, folder=entry["folder"]: self.open_path(folder))
            if not told["projects"]:
                self.recent_menu.addAction("There are no projects yet").setEnabled(False)

        self.client.ask("projects", done)

    def _choose_file(self):
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a project", QDir.homePath(), "Projects and packs (*.tessera *.tesserapack);;All files (*)"
        )
        if path:
            self.open_path(path)

    def _choose_folder(self):
        path = QFileDialog.getExistingDirectory(self, "Open a project or a folder of embeddings", QDir.homePath())
        if path:
            self.open_path(path)

    def open_path(self, path):
        """Open what lies at a path as layers."""
        self._open_long("open", path=path)

    def _open_long(self, do, **more):
        self.say("Starting Tessera Studio ..." if not self.client.is_running() else "Opening ...")
        self._long = self.client.ask(do, self._opened, self._open_failed, **more)
        self._show_state()

    def _opened(self, told):
        self._long = 0
        self.close_project()
        sentences = ["{} could not be read.".format(one.get("name", "A year")) for one in told.get("failed", [])]
        if told.get("others"):
            sentences.append("The pack holds more projects; they are under Open, Recent projects.")
        self.say(" ".join(sentences))
        self.layers = layers = ProjectLayers(self.client, told, self)
        layers.mapped.connect(lambda answer: self._show_state())
        layers.scored.connect(lambda answer: self._show_state())
        layers.refused.connect(self.say)
        layers.gone.connect(self._layers_gone)
        self._filling = True
        self.years.clear()
        for year in layers.years:
            self.years.addItem("" if year is None else str(year), year)
        self.years.setCurrentIndex(layers.years.index(layers.year))
        self.years.setVisible(len(layers.years) > 1)
        self.sure.setChecked(False)
        self._filling = False
        self.client.ask("heads", self._heads_told)
        self._show_state()
        self.zoom()

    def _heads_told(self, told):
        self._filling = True
        self.heads.clear()
        for head in told["heads"]:
            self.heads.addItem(head["title"].partition(":")[0], head["name"])
            self.heads.setItemData(self.heads.count() - 1, head["title"], Qt.ItemDataRole.ToolTipRole)
            if self.layers is not None and head["name"] == self.layers.head:
                self.heads.setCurrentIndex(self.heads.count() - 1)
        self._filling = False

    def _open_failed(self, sentence):
        self._long = 0
        self.say(sentence)
        self._show_state()

    def zoom(self):
        """Show the whole region on the map."""
        canvas, layers = self.iface.mapCanvas(), self.layers
        if layers.crs.isValid() and not QgsProject.instance().crs().isValid():
            QgsProject.instance().setCrs(layers.crs)
        extent = layers.extent
        target = canvas.mapSettings().destinationCrs()
        if layers.crs.isValid() and target.isValid():
            extent = QgsCoordinateTransform(layers.crs, target, QgsProject.instance()).transformBoundingBox(extent)
        canvas.setExtent(extent)
        canvas.refresh()

    def _choose_published(self):
        def done(told):
            names = [one["name"] for one in told["datasets"]]
            name, good = QInputDialog.getItem(self, "Published embeddings", "Dataset", names, 0, False)
            if not good:
                return
            text, good = QInputDialog.getText(self, "Published embeddings", "Years, separated by commas", text="2024")
            years = [int(word) for word in text.replace(",", " ").split() if word.isdigit()]
            if good and years:
                self._open_long("fetch", bbox=self._box_in_degrees(), years=years, dataset=name)

        self.client.ask("datasets", done)

    def _box_in_degrees(self):
        canvas = self.iface.mapCanvas()
        degrees = QgsCoordinateReferenceSystem("EPSG:4326")
        transform = QgsCoordinateTransform(canvas.mapSettings().destinationCrs(), degrees, QgsProject.instance())
        box = transform.transformBoundingBox(canvas.extent())
        return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]

    def reopen(self, *_):
        """A saved QGIS project holds our layers empty: the project of Tessera Studio is opened again in their place."""
        project = QgsProject.instance()
        found = [layer for layer in project.mapLayers().values() if layer.customProperty(FOLDER)]
        folders = list(dict.fromkeys(layer.customProperty(FOLDER) for layer in found))
        mine = list(self.layers.layers.values()) if self.layers is not None else []
        if not folders or any(layer in mine for layer in found):
            return
        for layer in found:
            node = project.layerTreeRoot().findLayer(layer.id())
            group = node.parent() if node is not None else None
            if group is not None and group is not project.layerTreeRoot():
                project.layerTreeRoot().removeChildNode(group)
        project.removeMapLayers([layer.id() for layer in found if project.mapLayer(layer.id()) is not None])
        self.open_path(folders[0])

    def close_project(self):
        """Let go of the open project; its labels are saved."""
        if self.layers is not None:
            layers, self.layers = self.layers, None
            layers.close()
            layers.deleteLater()
        self._show_state()

    def _layers_gone(self):
        self.layers = None
        self.say("The project was closed, as its layer was removed. All labels are saved.")
        self._show_state()

    def _engine_ended(self, sentence):
        self._long = 0
        if self.layers is not None:
            folder = self.layers.folder
            self.close_project()
            sentence += " It is at {}.".format(folder)
        self.say(sentence)
        self._show_state()

    def _progress(self, done, total, message):
        self.bar.setMaximum(max(total, 1))
        self.bar.setValue(done)
        self.bar.setFormat("{} %p %".format(message)[:60])

    def _stop_long(self):
        self.client.cancel(self._long)

    # ---------------------------------------------------------------------------------------------------------- classes

    def _class_chosen(self, item, _before):
        if item is not None and not self._filling and self.layers is not None:
            self.layers.choose_class(item.data(0, ROLE))

    def _add_class(self):
        name = self.new_class.text().strip()
        if name:
            self.layers.add_class(name)
            self.new_class.clear()

    def _class_menu(self, place):
        item = self.classes.itemAt(place)
        if item is None:
            return
        menu = QMenu(self.classes)
        for text, work in (
            ("Rename ...", self._rename_class),
            ("Colour ...", self._recolour_class),
            ("Remove", self._remove_class),
        ):
            menu.addAction(text, lambda work=work: work(item))
        menu.exec_(self.classes.viewport().mapToGlobal(place)) if hasattr(menu, "exec_") else menu.exec(
            self.classes.viewport().mapToGlobal(place)
        )

    def _rename_class(self, item):
        if item is None:
            return
        name, good = QInputDialog.getText(self, "Rename", "Name of the class", text=item.text(0))
        if good and name.strip():
            self.layers.edit_class(item.data(0, ROLE), name=name)

    def _recolour_class(self, item):
        if item is None:
            return
        class_id = item.data(0, ROLE)
        before = next(c["color"] for c in self.layers.classes if c["id"] == class_id)
        color = QColorDialog.getColor(QColor(before), self, "Colour of {}".format(item.text(0)))
        if color.isValid():
            self.layers.edit_class(class_id, color=color.name())

    def _remove_class(self, item):
        if item is None:
            return
        count = int(item.text(1))
        sure = QMessageBox.StandardButton.Yes
        if count:
            question = "Remove {} with its {} labels?".format(item.text(0), count)
            sure = QMessageBox.question(self, "Remove class", question)
        if sure == QMessageBox.StandardButton.Yes:
            self.layers.remove_class(item.data(0, ROLE))

    # ------------------------------------------------------------------------------------------------------------- work

    def start_labelling(self, kind):
        """Begin to draw labels of the chosen class with QGIS's own tool."""
        layer = self.layers.layers[kind]
        self.iface.setActiveLayer(layer)
        if not layer.isEditable():
            layer.startEditing()
        self.iface.actionAddFeature().trigger()

    def _year_chosen(self, index):
        if not self._filling and self.layers is not None and index >= 0:
            self.layers.choose_year(self.years.itemData(index))

    def _head_chosen(self, index):
        if not self._filling and self.layers is not None and index >= 0:
            self.layers.choose_head(self.heads.itemData(index))

    def _finish(self):
        def done(told):
            self._long = 0
            if self.layers is not None:
                self.layers.ask_map()

        layers = self.layers
        self._long = layers.ask("finish", done, failed=self._open_failed, year=layers.year)
        self._show_state()

    def make_layout(self, open_designer=True):
        """A page to print, in QGIS's designer."""
        layout = make_layout(self.layers)
        if open_designer:
            self.iface.openLayoutDesigner(layout)
        return layout

    def take_layer(self):
        """The active vector layer becomes labels of the project."""
        layer = self.iface.activeLayer()
        if not isinstance(layer, QgsVectorLayer) or layer in self.layers.layers.values():
            self.say("Choose one of your own vector layers in the list of layers first.")
            return
        names = ["(choose by content)"] + [field.name() for field in layer.fields()]
        name, good = QInputDialog.getItem(self, "Labels of a layer", "Field that is the class", names, 0, False)
        if good:
            self.send_layer(layer, None if name == names[0] else name)

    def send_layer(self, layer, field=None):
        """Take the places of a vector layer in as labels."""
        path = os.path.join(QDir.tempPath(), "tessera-{}-{}.gpkg".format(os.getpid(), layer.id()[-12:]))
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName, options.fileEncoding = "GPKG", "UTF-8"
        context = QgsProject.instance().transformContext()
        problem = QgsVectorFileWriter.writeAsVectorFormatV3(layer, path, context, options)
        if problem[0] != QgsVectorFileWriter.NoError:
            self.say("The layer {} could not be written: {}.".format(layer.name(), problem[1]))
            return

        def ended():
            if os.path.exists(path):
                os.remove(path)

        def done(told):
            ended()
            if self.layers is not None:
                self.layers.take_labels(told)
                self.layers.ask_map()
                skipped = " ".join(told["report"].get("text", []))
                self.say("{} labels of {} were added. {}".format(told["added"], layer.name(), skipped).strip())

        def failed(sentence):
            ended()
            self.say(sentence)

        self.layers.ask("add_file", done, failed=failed, path=path, field=field)

    def _choose_save(self):
        path, kind = QFileDialog.getSaveFileName(self, "Save", QDir.homePath(), SAVES)
        if path:
            ending = "." + kind.rpartition("*.")[2].rstrip(")")
            self.save(path if os.path.splitext(path)[1] else path + ending)

    def save(self, path):
        """Write the project or its map for others; the ending says which."""

        def done(told):
            self._long = 0
            self.say("Written: {}".format(", ".join(told["files"])))
            self._show_state()

        layers = self.layers
        self._long = layers.ask("save", done, failed=self._open_failed, path=path, year=layers.year)
        self._show_state()

    def open_in_studio(self):
        """Open the same project in the browser; what is labelled there is seen here, and the other way round."""
        command = environment.find()
        if not command:
            self.say(environment.check()[1])
            return
        subprocess.Popen(
            command + ["app", "--project", self.layers.folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment.clean_environment(),
            start_new_session=os.name != "nt",
            **environment.hidden(),
        )
        self.say("Tessera Studio opens in the browser with this project. Labels go both ways.")

    def show_settings(self):
        """Where Tessera Studio is, whether it works, and how to install it."""
        dialog = SettingsDialog(self)
        if dialog.exec_() if hasattr(dialog, "exec_") else dialog.exec():
            self.client.stop()

    def show_help(self):
        """The help, in the browser."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(os.path.join(HERE, "help", "index.html")))

    def shut(self):
        """End everything: QGIS or the plugin is closed."""
        QgsProject.instance().readProject.disconnect(self.reopen)
        self.close_project()
        self.client.stop()
