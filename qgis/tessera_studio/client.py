"""The engine as QGIS sees it: a child process that is asked and answers, one line of JSON each (protocol 1)."""

from __future__ import annotations

import json

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal

from . import environment

PROTOCOL = 1
# Last lines of what the engine says beside its answers, told where it ends by itself.
KEPT_LINES = 20


class Call:
    """A question that is not answered yet."""

    def __init__(self, number, done, failed, progress):
        self.number, self.done, self.failed, self.progress = number, done, failed, progress


class EngineClient(QObject):
    """Starts the engine when it is first asked, and starts it anew after it ended.

    Signals:
        failed: a sentence for people, where nobody else was told of it.
        progressed: of what takes long, how much is done, of how much, and what is being done.
        ended: why the engine ended by itself.
    """

    failed = pyqtSignal(str)
    progressed = pyqtSignal(int, int, str)
    ended = pyqtSignal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._process = None
        self._calls = {}
        self._number = 0
        self._rest = b""
        self._said = []
        self.version = ""

    def is_running(self):
        """Whether the engine runs."""
        return self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning

    def start(self):
        """Start the engine; returns an empty text, or why it cannot be."""
        if self.is_running():
            return ""
        command = environment.find()
        if not command:
            return environment.check()[1] + " Open the settings of Tessera Studio to install it."
        process = QProcess(self)
        variables = QProcessEnvironment()
        for key, value in environment.clean_environment().items():
            variables.insert(key, value)
        process.setProcessEnvironment(variables)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_said)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._rest, self._said, self._process = b"", [], process
        process.start(command[0], command[1:] + ["engine"])
        return ""

    def ask(self, do, done=None, failed=None, progress=None, **more):
        """Send a question; ``done(result)`` or ``failed(sentence)`` is called once. Returns its number, 0 if it was not sent."""
        problem = self.start()
        if problem:
            (failed or self.failed.emit)(problem)
            return 0
        self._number += 1
        number = self._number
        self._calls[number] = Call(number, done, failed, progress)
        self._write(dict(more, id=number, do=do))
        return number

    def cancel(self, number):
        """Ask to stop a question that takes long; it then fails as stopped."""
        if number in self._calls:
            self._number += 1
            self._calls[self._number] = Call(self._number, None, None, None)
            self._write({"id": self._number, "do": "cancel", "request": number})

    def is_open(self, number):
        """Whether a question is not answered yet."""
        return number in self._calls

    def stop(self):
        """End the engine; what it was asked is not answered any more."""
        process, self._process = self._process, None
        self._calls = {}
        if process is None:
            return
        process.blockSignals(True)
        process.closeWriteChannel()
        if not process.waitForFinished(5000):
            process.kill()
            process.waitForFinished(2000)
        process.deleteLater()

    def _write(self, message):
        self._process.write(json.dumps(message).encode("utf-8") + b"\n")

    def _read(self):
        self._rest += bytes(self._process.readAllStandardOutput())
        lines = self._rest.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._take(line)

    def _take(self, line):
        try:
            message = json.loads(line.decode("utf-8"))
        except ValueError:
            self.failed.emit("The engine of Tessera Studio said something that is no answer: {}".format(line[:100]))
            return
        if "protocol" in message and "id" not in message:
            self.version = message.get("version", "")
            if message["protocol"] != PROTOCOL:
                newer = "Tessera Studio" if message["protocol"] < PROTOCOL else "this plugin"
                self._end("This plugin and Tessera Studio {} do not fit; update {}.".format(self.version, newer))
            return
        call = self._calls.get(message.get("id"))
        if call is None:
            return
        if "progress" in message:
            told = message["progress"]
            if call.progress is not None:
                call.progress(told["done"], told["total"], told["message"])
            self.progressed.emit(told["done"], told["total"], told["message"])
            return
        del self._calls[call.number]
        if "error" in message:
            if message["error"]["kind"] == "Cancelled" and call.failed is None:
                return
            (call.failed or self.failed.emit)(message["error"]["message"])
        elif call.done is not None:
            call.done(message["result"])

    def _read_said(self):
        text = bytes(self._process.readAllStandardError()).decode("utf-8", "replace")
        self._said = (self._said + text.splitlines())[-KEPT_LINES:]

    def _broken(self, error):
        if error == QProcess.ProcessError.FailedToStart:
            self._end("Tessera Studio could not be started: {}.".format(self._process.errorString()))

    def _finished(self, *_):
        last = self._said[-1] if self._said else "it said nothing"
        self._end(
            "The engine of Tessera Studio ended ({}). Your labels are saved; open the project again.".format(last)
        )

    def _end(self, sentence):
        calls, self._calls = list(self._calls.values()), {}
        process, self._process = self._process, None
        if process is not None and process.state() != QProcess.ProcessState.NotRunning:
            process.blockSignals(True)
            process.kill()
        for call in calls:
            if call.failed is not None:
                call.failed(sentence)
        self.ended.emit(sentence)
