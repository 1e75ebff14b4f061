"""The HTML of a report: one file, pictures inside, no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from mono_depth_ros.evaluation.pictures import ERROR_FULL_SCALE, FramePictures

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1280px; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { border-bottom: 1px solid #ccc; padding: .3em .8em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
figure { margin: 1.5em 0; }
img { width: 100%; display: block; margin-bottom: 4px; }
"""


def page(title: str, parts: Sequence[tuple[str, str]]) -> str:
    """Return a whole page of (heading, HTML) parts."""
    body = "\n".join(f"<h2>{escape(heading)}</h2>\n{content}" for heading, content in parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; an empty header is left out."""
    head = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>\n" if header else ""
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>\n{head}{body}\n</table></div>'


def paragraph(text: str) -> str:
    """Return plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def picture_rows(frames: Sequence[FramePictures], max_depth_m: float) -> str:
    """Return the pictures of each frame below one another, with a legend."""
    legend = (
        f"<p>Depth runs from red (0 m) to blue ({max_depth_m:g} m and more), black is unknown. "
        "From top to bottom: the image with the truth's points, the prediction, and the relative "
        f"error at those points from blue (0) to red ({ERROR_FULL_SCALE:g} and more).</p>"
    )
    figures = (
        f"<figure><figcaption>{escape(frame.title)}</figcaption>\n"
        + "\n".join(
            f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
            for name, data in (
                ("truth on the image", frame.overlay),
                ("prediction", frame.prediction),
                ("relative error", frame.error),
            )
        )
        + "</figure>"
        for frame in frames
    )
    return legend + "\n".join(figures)
