from .export import export_onnx as export_onnx
from .forecaster import OnnxForecaster as OnnxForecaster
from .manifest import Manifest as Manifest
