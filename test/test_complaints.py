"""docs/complaints.md names tests that exist."""

from __future__ import annotations

import re

from training.config import CHECKOUT

TABLE = (CHECKOUT / "docs/complaints.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test/[\w/]+\.py)(?:::(\w+))?` \|$", TABLE, re.MULTILINE)


def test_every_row_names_a_test_that_exists():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert len(NAMED) == len(rows) >= 20
    for file, name in NAMED:
        text = (CHECKOUT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"def {name}\(", text), f"{file}::{name}"
