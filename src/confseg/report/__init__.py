"""A report of a calibration: one page of HTML with what an auditor would ask for."""

from .page import Order, Subject, page

__all__ = ["Order", "Subject", "page"]
