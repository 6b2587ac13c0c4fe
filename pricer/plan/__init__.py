"""Which solves are shared, how cells are cut into blocks, and what a run is called."""

from .base import Bulk, Chunks, OptionPlan, Plan, Window
from .book import BookPlan
from .grid import GridPlan
from .panel import PanelPlan

__all__ = ["BookPlan", "Bulk", "Chunks", "GridPlan", "OptionPlan", "PanelPlan", "Plan", "Window"]
