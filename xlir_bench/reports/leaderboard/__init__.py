"""Leaderboards: pages made from stored results alone."""

from xlir_bench.reports.leaderboard.board import Board, LeftOut, Row, TaskBoard, read_board
from xlir_bench.reports.leaderboard.files import Differences, differences, write
from xlir_bench.reports.leaderboard.texts import leaderboard_texts

__all__ = [
    "Board",
    "Differences",
    "LeftOut",
    "Row",
    "TaskBoard",
    "differences",
    "leaderboard_texts",
    "read_board",
    "write",
]
