"""Processing algorithms over the command line ``tessera``: classify, evaluate, change and sample."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsVectorFileWriter,
)

from . import environment

HEADS = ("prototype", "ridge", "logistic", "knn", "forest", "boosting", "mlp", "unet", "auto")
HEAD_NAMES = (
    "Class means: best with few labels",
    "Ridge: as good with many labels",
    "Logistic regression",
    "Nearest neighbours",
    "Random forest",
    "Gradient boosting",
    "Neural network",
    "U-Net: sees shapes",
    "Automatic: class means, logistic regression or both, as the labels say",
)


class TesseraAlgorithm(QgsProcessingAlgorithm):
    """What the algorithms share: running the command line, with progress and Cancel."""

    NAME = TITLE = HELP = ""

    def name(self):
        """How models name it; never another."""
        return self.NAME

    def displayName(self):
        """For people."""
        return self.TITLE

    def shortHelpString(self):
        """What it does."""
        return self.HELP

    def createInstance(self):
        """A fresh one."""
        return type(self)()

    def embeddings(self, name, title):
        """A parameter for a folder of embeddings (a file such as a Zarr store or a GeoTIFF may be typed)."""
        self.addParameter(QgsProcessingParameterFile(name, title, behavior=QgsProcessingParameterFile.Behavior.Folder))

    def labels(self):
        """Parameters for labels: a layer and the field that is the class."""
        self.addParameter(
            QgsProcessingParameterFeatureSource("LABELS", "Labels", [QgsProcessing.TypeVectorAnyGeometry])
        )
        self.addParameter(
            QgsProcessingParameterField("FIELD", "Field that is the class", parentLayerParameterName="LABELS")
        )
        self.addParameter(QgsProcessingParameterEnum("HEAD", "Head", list(HEAD_NAMES), defaultValue=0))

    def label_words(self, parameters, context):
        """The words of the command line that say which labels teach which head."""
        source = self.parameterAsSource(parameters, "LABELS", context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, "LABELS"))
        path = QgsProcessingUtils.generateTempFilename("labels.gpkg")
        written(source, path, "GPKG")
        field = self.parameterAsString(parameters, "FIELD", context)
        head = HEADS[self.parameterAsEnum(parameters, "HEAD", context)]
        return ["--labels", path, "--field", field, "--head", head]

    def advanced(self, parameter):
        """Add a parameter that few need."""
        parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        self.addParameter(parameter)

    def run_tessera(self, words, feedback):
        """Run the command line; returns its result. Exit code 3 means done in part: what is missing is told."""
        command = environment.find()
        if not command:
            raise QgsProcessingException(environment.check()[1] + " Open the settings in the panel of Tessera Studio.")
        words = command + list(words) + ["--json", "--progress", "json"]
        feedback.pushCommandInfo(" ".join(words))
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment.clean_environment(),
            **environment.hidden(),
        )
        out = []
        reader = threading.Thread(target=lambda: out.append(process.stdout.read()), daemon=True)
        reader.start()
        ended = threading.Event()

        def watch():
            while not ended.wait(0.2):
                if feedback.isCanceled():
                    # What was finished is kept, as with Ctrl-C.
                    process.send_signal(signal.SIGINT) if os.name != "nt" else process.terminate()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        for line in process.stderr:
            tell(line.decode("utf-8", "replace").rstrip(), feedback)
        code = process.wait()
        ended.set()
        reader.join()
        watcher.join()
        if feedback.isCanceled():
            raise QgsProcessingException("Stopped.")
        try:
            result = json.loads((out or [b""])[0].decode("utf-8"))
        except ValueError:
            raise QgsProcessingException("Tessera Studio ended without a result (exit code {}).".format(code)) from None
        if "error" in result:
            raise QgsProcessingException(result["error"]["message"])
        for one in result.get("missing", []) + result.get("failed", []):
            feedback.pushWarning(one if isinstance(one, str) else "{}: {}".format(one.get("name"), one.get("why")))
        return result


def tell(line, feedback):
    """A line of stderr: progress or a sentence."""
    try:
        told = json.loads(line)["progress"]
    except (ValueError, KeyError, TypeError):
        if line:
            feedback.pushInfo(line)
        return
    feedback.setProgress(100.0 * told["done"] / max(told["total"], 1))
    feedback.setProgressText(told["message"] or told["task"])


def written(source, path, driver, crs=None):
    """Write the features of a source as a file, in a coordinate system of its own where one is given."""
    from qgis.core import QgsCoordinateTransform, QgsFeature

    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.fileEncoding = driver, "UTF-8"
    if driver == "CSV":
        options.layerOptions = ["GEOMETRY=AS_XY"]
    target = crs or source.sourceCrs()
    context = QgsCoordinateTransformContext()
    writer = QgsVectorFileWriter.create(path, source.fields(), source.wkbType(), target, context, options)
    if writer.hasError() != QgsVectorFileWriter.NoError:
        raise QgsProcessingException("The features could not be written: {}.".format(writer.errorMessage()))
    transform = QgsCoordinateTransform(source.sourceCrs(), target, context)
    for feature in source.getFeatures():
        copy = QgsFeature(feature)
        geometry = copy.geometry()
        if crs is not None and not geometry.isEmpty():
            geometry.transform(transform)
            copy.setGeometry(geometry)
        writer.addFeature(copy)
    del writer


class ClassifyAlgorithm(TesseraAlgorithm):
    """Labels and embeddings to a class map."""

    NAME, TITLE = "classify", "Classify"
    HELP = (
        "Trains a head on labels and maps the region of the embeddings. The confidence is calibrated on labels whose place is "
        "held out. Labels are points or polygons with a field that is the class."
    )

    def initAlgorithm(self, config=None):
        """Declare the parameters."""
        self.embeddings("EMBEDDINGS", "Folder of embeddings")
        self.labels()
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", "Class map"))
        self.addParameter(
            QgsProcessingParameterRasterDestination("CONFIDENCE", "Confidence", optional=True, createByDefault=False)
        )
        self.addOutput(QgsProcessingOutputNumber("ACCURACY", "Share of labels right at places held out"))

    def processAlgorithm(self, parameters, context, feedback):
        """Map."""
        out = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        words = ["map", self.parameterAsString(parameters, "EMBEDDINGS", context), "--out", out, "--overwrite"]
        confidence = (
            self.parameterAsOutputLayer(parameters, "CONFIDENCE", context) if parameters.get("CONFIDENCE") else ""
        )
        if confidence:
            words += ["--confidence", confidence]
        result = self.run_tessera(words + self.label_words(parameters, context), feedback)
        score = result.get("score") or {}
        for sentence in score.get("sentences", []):
            feedback.pushInfo(sentence)
        answer = {"OUTPUT": result["out"], "ACCURACY": score.get("accuracy")}
        return dict(answer, CONFIDENCE=result["confidence"]) if confidence else answer


class EvaluateAlgorithm(TesseraAlgorithm):
    """How good a head is, honestly."""

    NAME, TITLE = "evaluate", "Evaluate"
    HELP = (
        "Says how often the map is right at places it has not seen, with its 95 % interval: whole places are held out, never "
        "single pixels."
    )

    def initAlgorithm(self, config=None):
        """Declare the parameters."""
        self.embeddings("EMBEDDINGS", "Folder of embeddings")
        self.labels()
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "OUTPUT", "Result", "JSON (*.json)", optional=True, createByDefault=False
            )
        )
        self.addOutput(QgsProcessingOutputNumber("ACCURACY", "Share of labels right"))
        self.addOutput(QgsProcessingOutputNumber("LOW", "Lower end of its 95 % interval"))
        self.addOutput(QgsProcessingOutputNumber("HIGH", "Upper end of its 95 % interval"))

    def processAlgorithm(self, parameters, context, feedback):
        """Score."""
        words = ["evaluate", self.parameterAsString(parameters, "EMBEDDINGS", context)]
        result = self.run_tessera(words + self.label_words(parameters, context), feedback)
        for sentence in (result.get("score") or {}).get("sentences", []):
            feedback.pushInfo(sentence)
        low, high = result.get("interval") or (None, None)
        answer = {"ACCURACY": result["accuracy"], "LOW": low, "HIGH": high}
        out = self.parameterAsFileOutput(parameters, "OUTPUT", context) if parameters.get("OUTPUT") else ""
        if out:
            with open(out, "w", encoding="utf-8") as file:
                json.dump(result, file, indent=1)
            answer["OUTPUT"] = out
        return answer


class ChangeAlgorithm(TesseraAlgorithm):
    """What changed between two years."""

    NAME, TITLE = "change", "Find change"
    HELP = (
        "A map of changed ground between two years at a chosen share of false alarms, and the p-values beside it. The shift of "
        "the whole scene (weather, sensors) is not counted as change."
    )

    def initAlgorithm(self, config=None):
        """Declare the parameters."""
        self.embeddings("FIRST", "Embeddings of the earlier year")
        self.embeddings("SECOND", "Embeddings of the later year")
        self.addParameter(
            QgsProcessingParameterNumber(
                "RATE",
                "Share of false alarms to accept",
                QgsProcessingParameterNumber.Type.Double,
                defaultValue=0.05,
                minValue=0.0001,
                maxValue=0.9999,
            )
        )
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", "Change: 1 unchanged, 2 changed"))
        self.addOutput(QgsProcessingOutputNumber("SHARE", "Share of the region that changed"))

    def processAlgorithm(self, parameters, context, feedback):
        """Compare."""
        first, second = (self.parameterAsString(parameters, name, context) for name in ("FIRST", "SECOND"))
        out = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        rate = self.parameterAsDouble(parameters, "RATE", context)
        words = ["change", first, second, "--out", out, "--rate", "{:g}".format(rate), "--overwrite"]
        result = self.run_tessera(words, feedback)
        return {"OUTPUT": result["out"], "SHARE": result["changed_share"]}


class SampleAlgorithm(TesseraAlgorithm):
    """Published embeddings at points."""

    NAME, TITLE = "sample", "Sample embeddings at points"
    HELP = "Adds the published embedding of each year to every point of a layer, as a table."

    def initAlgorithm(self, config=None):
        """Declare the parameters."""
        self.addParameter(QgsProcessingParameterFeatureSource("POINTS", "Points", [QgsProcessing.TypeVectorPoint]))
        self.addParameter(QgsProcessingParameterString("YEARS", "Years, such as 2023 or 2018-2024", "2024"))
        self.addParameter(QgsProcessingParameterString("DATASET", "Dataset (empty: the newest)", "", optional=True))
        self.advanced(QgsProcessingParameterString("STORE", "Another store, address or path", "", optional=True))
        self.addParameter(QgsProcessingParameterFileDestination("OUTPUT", "Table", "CSV (*.csv)"))

    def processAlgorithm(self, parameters, context, feedback):
        """Sample."""
        source = self.parameterAsSource(parameters, "POINTS", context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, "POINTS"))
        path = QgsProcessingUtils.generateTempFilename("points.csv")
        written(source, path, "CSV", QgsCoordinateReferenceSystem("EPSG:4326"))
        out = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        words = ["fetch", "--points", path, "--lon", "X", "--lat", "Y", "--out", out, "--overwrite"]
        words += ["--years", self.parameterAsString(parameters, "YEARS", context)]
        for name, option in (("DATASET", "--dataset"), ("STORE", "--store-url")):
            value = self.parameterAsString(parameters, name, context)
            if value:
                words += [option, value]
        return {"OUTPUT": self.run_tessera(words, feedback)["out"]}
