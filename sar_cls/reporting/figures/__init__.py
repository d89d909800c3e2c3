"""Figures of a suite; :mod:`sar_cls.reporting.figures.gallery` makes them all."""
