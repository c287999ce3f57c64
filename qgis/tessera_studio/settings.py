"""The settings: where Tessera Studio is, whether it works, and a button that installs it beside QGIS."""

from __future__ import annotations

from qgis.PyQt.QtCore import QProcess, QProcessEnvironment
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from . import environment


class SettingsDialog(QDialog):
    """See the module."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setWindowTitle("Tessera Studio: settings")
        self.resize(620, 420)
        column = QVBoxLayout(self)
        form = QFormLayout()
        column.addLayout(form)
        self.command = QLineEdit(environment.chosen())
        self.command.setPlaceholderText("Found by itself; or the program tessera, or a Python that has it")
        browse = QPushButton("Choose ...")
        browse.clicked.connect(self._browse)
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.command, 1)
        line.addWidget(browse)
        form.addRow("Tessera Studio", row)
        self.source = QLineEdit("" if environment.source() == environment.PACKAGE else environment.source())
        self.source.setPlaceholderText("{}; or a wheel, or a folder with its source".format(environment.PACKAGE))
        form.addRow("What to install", self.source)
        self.state = QLabel()
        self.state.setWordWrap(True)
        column.addWidget(self.state)
        buttons = QHBoxLayout()
        check = QPushButton("Check")
        check.clicked.connect(self.check)
        self.install_button = QPushButton("Install")
        self.install_button.clicked.connect(self.install)
        buttons.addWidget(check)
        buttons.addWidget(self.install_button)
        buttons.addStretch(1)
        column.addLayout(buttons)
        self.output = QPlainTextEdit()
        self.output.setReadOnly(True)
        column.addWidget(self.output, 1)
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        box.accepted.connect(self.accept)
        box.rejected.connect(self.reject)
        column.addWidget(box)
        self._process, self._left = None, []
        self.state.setText(environment.HOW_TO_INSTALL.format(package=environment.PACKAGE))

    def _browse(self):
        path, _ = QFileDialog.getOpenFileName(self, "The program tessera, or a Python that has it")
        if path:
            self.command.setText(path)

    def _store(self):
        environment.choose(self.command.text())
        environment.choose_source(self.source.text())

    def check(self):
        """Say whether Tessera Studio works, and what is wrong where it does not."""
        self._store()
        good, sentence = environment.check()
        self.state.setText(
            sentence if good else sentence + " " + environment.HOW_TO_INSTALL.format(package=environment.PACKAGE)
        )
        return good

    def install(self):
        """Make the environment and install Tessera Studio into it; what is being done is shown."""
        self._store()
        self._left = environment.install_commands()
        if not self._left:
            self.state.setText(environment.NO_UV)
            return
        self.output.clear()
        self.install_button.setEnabled(False)
        self.state.setText("Installing into {}; this takes some minutes.".format(environment.home()))
        self._next()

    def _next(self):
        if not self._left:
            self.install_button.setEnabled(True)
            # What was installed is what is used from now on.
            self.command.clear()
            self.check()
            return
        command = self._left.pop(0)
        self.output.appendPlainText("$ " + " ".join(command))
        process = self._process = QProcess(self)
        variables = QProcessEnvironment()
        for key, value in environment.clean_environment().items():
            variables.insert(key, value)
        process.setProcessEnvironment(variables)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        process.readyRead.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        process.start(command[0], command[1:])

    def _read(self):
        text = bytes(self._process.readAll()).decode("utf-8", "replace")
        self.output.appendPlainText(text.rstrip())

    def _broken(self, error):
        if error == QProcess.ProcessError.FailedToStart:
            self._failed(self._process.errorString())

    def _finished(self, code, *_):
        if code:
            last = (self.output.toPlainText().strip().splitlines() or ["it said nothing"])[-1]
            self._failed(last)
        else:
            self._next()

    def _failed(self, why):
        self._left = []
        self.install_button.setEnabled(True)
        self.state.setText("It could not be installed: {}. What was done stands below.".format(why.rstrip(".")))

    def is_installing(self):
        """Whether an installation is going on."""
        return not self.install_button.isEnabled()

    def accept(self):
        """Keep what was entered."""
        self._store()
        super().accept()

    def done(self, result):
        """Stop an installation that goes on; what uv did so far it finds again."""
        if self.is_installing() and self._process is not None:
            self._left = []
            self._process.finished.disconnect(self._finished)
            self._process.errorOccurred.disconnect(self._broken)
            self._process.kill()
            self._process.waitForFinished(3000)
        super().done(result)
