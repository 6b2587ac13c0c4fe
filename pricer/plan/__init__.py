"""Which solves are shared, how cells are cut into blocks, and what a run is called."""

from .base import Chunks, Plan, Window
from .book import BookPlan
from .grid import GridPlan

__all__ = ["BookPlan", "Chunks", "GridPlan", "Plan", "Window"]
