"""All files of a leaderboard, by their path in its folder."""

from __future__ import annotations

from xlir_bench.reports.leaderboard.board import Board
from xlir_bench.reports.leaderboard.pages import encoder_page, index_page, task_page
from xlir_bench.reports.leaderboard.reported import published_page


def leaderboard_texts(board: Board, html: bool = False) -> dict[str, str]:
    """README.md, published.md, a page a task and one for each encoder on it; index.html if asked for."""
    texts = {"README.md": index_page(board), "published.md": published_page(board)}
    for task in board.tasks:
        texts[f"{task.file}.md"] = task_page(task)
        for row in task.rows:
            texts[f"{task.file}/{row.file}.md"] = encoder_page(task, row)
    if html:
        from xlir_bench.reports.leaderboard.single_page import html_page

        texts["index.html"] = html_page(board)
    return texts
