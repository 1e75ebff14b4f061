"""The HTML of a report: one file, pictures inside, no scripts."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from html import escape

from mono_depth_ros.evaluation.pictures import (
    ERROR_FULL_SCALE,
    FramePictures,
    depth_scale,
    error_scale,
)

_STYLE = """
body { font: 15px/1.55 system-ui, sans-serif; max-width: 1180px; margin: 0 auto 4em;
       padding: 1.5em 1.2em; color: #1f2933; background: #fff; }
h1 { font-size: 1.7em; line-height: 1.25; margin: .2em 0 .4em; }
h2 { font-size: 1.2em; margin: 2.4em 0 .6em; padding-top: .5em; border-top: 1px solid #dde3e8; }
nav { font-size: .9em; color: #66788a; }
nav a { color: #0072b2; text-decoration: none; margin-right: 1.1em; white-space: nowrap; }
p { max-width: 75em; }
.note, figcaption { color: #52606d; font-size: .9em; }
table { border-collapse: collapse; margin: .8em 0; font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: #52606d; white-space: nowrap; }
th, td { border-bottom: 1px solid #e4e9ee; padding: .3em .8em; text-align: right; }
th:first-child, td:first-child { text-align: left; white-space: pre-wrap; }
.facts td { text-align: left; }
.facts td:first-child { color: #52606d; min-width: 14em; }
.scroll { overflow-x: auto; font-size: .92em; }
.cards { display: flex; flex-wrap: wrap; margin: 1.2em -.4em; }
.card { flex: 1 1 7.2em; margin: .4em; padding: .7em .9em; background: #f4f7f9;
        border-radius: 8px; }
.card b { display: block; font-size: 1.6em; line-height: 1.3; font-weight: 600; color: #102a43; }
.card span { display: block; font-size: .85em; color: #52606d; }
figure { margin: 1em 0 1.6em; break-inside: avoid; }
.four { display: flex; flex-wrap: wrap; margin: .3em -2px; }
.four img { width: calc(50% - 4px); margin: 2px; display: block; border-radius: 3px; }
.bar { display: inline-block; width: 9em; height: .8em; border-radius: 3px;
       vertical-align: baseline; }
summary { cursor: pointer; color: #0072b2; }
.maps { display: flex; flex-wrap: wrap; }
.maps table { margin-right: 3em; }
.maps th, .maps td { text-align: center; border: 2px solid #fff; }
.maps td { min-width: 6em; padding: .7em .5em; }
.maps td:first-child { text-align: center; }
.maps small { color: #52606d; }
"""


def page(title: str, parts: Sequence[tuple[str, str]]) -> str:
    """Return a whole page of (heading, HTML) parts, with links to them at its top."""
    links = " ".join(f'<a href="#{_name(head)}">{escape(head)}</a>' for head, _ in parts)
    body = "\n".join(
        f'<h2 id="{_name(heading)}">{escape(heading)}</h2>\n{content}' for heading, content in parts
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; without a header it is one of names and texts."""
    head = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>\n" if header else ""
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    kind = "" if header else ' class="facts"'
    return f'<div class="scroll"><table{kind}>\n{head}{body}\n</table></div>'


def paragraph(text: str) -> str:
    """Return plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    """Return plain text as a paragraph in small grey letters."""
    return f'<p class="note">{escape(text)}</p>'


def cards(items: Sequence[tuple[str, str, str]]) -> str:
    """Return (name, value, what it means) side by side, the value in large letters."""
    boxes = (
        f'<div class="card"><span>{escape(name)}</span><b>{escape(value)}</b>'
        f"<span>{escape(meaning)}</span></div>"
        for name, value, meaning in items
    )
    return f'<div class="cards">{"".join(boxes)}</div>'


def heat_map(
    title: str,
    names: tuple[Sequence[str], Sequence[str]],
    cells: Sequence[Sequence[tuple[float, str, str]]],
) -> str:
    """Return a small table whose cells are the more orange the worse they are.

    Args:
        title: stands in the corner.
        names: of the rows and of the columns.
        cells: per row, (from 0 = good to 1 = bad or NaN = nothing, large text, small text).
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in (title, *names[1]))
    lines = "\n".join(
        f"<tr><th>{escape(name)}</th>{''.join(_heat_cell(*cell) for cell in row)}</tr>"
        for name, row in zip(names[0], cells, strict=True)
    )
    return f"<table>\n<tr>{head}</tr>\n{lines}\n</table>"


def heat_maps(maps: Sequence[str]) -> str:
    """Return results of `heat_map` side by side."""
    return f'<div class="maps">{"".join(maps)}</div>'


def picture_legend(max_depth_m: float) -> str:
    """Return what the colours of `picture_rows` mean."""
    return (
        '<p class="note">Image, truth on it; prediction, relative error at the truth. Depth: '
        f"0 m {_bar(depth_scale(max_depth_m, 12))} {max_depth_m:g} m and more, black is unknown. "
        f"Error: 0 {_bar(error_scale(12))} {ERROR_FULL_SCALE:.0%} and more.</p>"
    )


def picture_rows(frames: Sequence[FramePictures]) -> str:
    """Return the four pictures of each frame, frames below one another."""
    return "\n".join(
        f"<figure><figcaption>{escape(frame.title)}</figcaption>\n"
        f'<div class="four">\n{_pictures(frame)}\n</div></figure>'
        for frame in frames
    )


def folded(summary: str, content: str) -> str:
    """Return HTML that a click on its summary unfolds."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def _pictures(frame: FramePictures) -> str:
    named = (
        ("image", frame.image),
        ("truth on the image", frame.overlay),
        ("prediction", frame.prediction),
        ("relative error", frame.error),
    )
    return "\n".join(
        f'<img alt="{name}" title="{name}" src="data:image/jpeg;base64,'
        f'{base64.b64encode(data).decode()}">'
        for name, data in named
    )


def _heat_cell(badness: float, large: str, small: str) -> str:
    # From white to the orange of `plots.COLOURS`, light enough to read black on it.
    share = 0.0 if math.isnan(badness) else 0.75 * min(max(badness, 0.0), 1.0)
    red, green, blue = (round(255 + share * (c - 255)) for c in (0xD5, 0x5E, 0x00))
    style = f"background:rgb({red},{green},{blue})" if not math.isnan(badness) else "color:#829ab1"
    return f'<td style="{style}">{escape(large)}<br><small>{escape(small)}</small></td>'


def _bar(colours: Sequence[tuple[int, int, int]]) -> str:
    stops = ",".join(f"rgb({r},{g},{b})" for r, g, b in colours)
    return f'<span class="bar" style="background:linear-gradient(to right,{stops})"></span>'


def _name(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lower()).strip("-")
