"""What cannot become a model here, and why: errors of import and conversion. Messages go to clients.

InferenceError
├── BadRequest
│   ├── ImportRefused          the files are not a model that runs here; names the file, the fault and the way out
│   └── ConverterMissing       the converter is not installed and nobody has consented to install it
└── ConversionFailed           the child that converts failed or ran out of time; carries its last words
    └── ConversionCancelled    somebody asked for it to end
"""

from __future__ import annotations

from inference.errors import BadRequest, InferenceError


class ImportRefused(BadRequest):
    """`file` is a bare name, `way_out` what the user can do instead."""

    def __init__(self, file: str, fault: str, way_out: str) -> None:
        super().__init__(f"'{file}' {fault}; {way_out}", "path")
        self.file = file
        self.fault = fault
        self.way_out = way_out


class ConverterMissing(BadRequest):
    """Says how to consent."""


class ConversionFailed(InferenceError):
    """Nothing of a model is left behind."""


class ConversionCancelled(ConversionFailed):
    """Not a fault: whoever catches ConversionFailed may want to tell it apart."""
