"""Which solves are shared, how cells are cut into blocks, and what a run is called."""

from .base import FAMILY_KEYS, Chunks, Plan, Window
from .book import BookPlan
from .grid import GridPlan

__all__ = ["FAMILY_KEYS", "BookPlan", "Chunks", "GridPlan", "Plan", "Window"]
