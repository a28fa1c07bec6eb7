"""Leaderboards: pages made from stored results alone."""

from xlir_bench.reports.leaderboard.board import Board, read_board
from xlir_bench.reports.leaderboard.files import Differences, differences, write
from xlir_bench.reports.leaderboard.pages import leaderboard_texts

__all__ = ["Board", "Differences", "differences", "leaderboard_texts", "read_board", "write"]
