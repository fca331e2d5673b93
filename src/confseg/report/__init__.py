"""A report of a calibration: one page of HTML with what an auditor would ask for."""

from .page import Subject, page

__all__ = ["Subject", "page"]
