"""`mono_depth compare`: evaluation reports side by side."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from mono_depth_ros.cli.arguments import (
    GATE_FAILED,
    add_interval_arguments,
    interval_settings,
)
from mono_depth_ros.errors import ConfigError

HELP = (
    "Compare evaluation reports with the first one, frame by frame: differences of all scores with "
    "paired bootstrap intervals, and warnings where the reports are not comparable."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "reports",
        nargs="+",
        type=Path,
        metavar="REPORT",
        help="folders that evaluate --out wrote, two or more; the first is the reference",
    )
    parser.add_argument("--out", type=Path, help="folder for comparison.html and comparison.json")
    add_interval_arguments(parser)
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with status 3 when it holds for the difference to the first report, for example "
        "'abs_rel>0.01'; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, write the page, print the tables."""
    from mono_depth_ros.evaluation.comparison import compare_reports, report_names
    from mono_depth_ros.evaluation.comparison_page import (
        comparison_lines,
        require_replaceable_comparison,
        write_comparison,
    )
    from mono_depth_ros.evaluation.gates import difference_failures, parse_difference_gates
    from mono_depth_ros.evaluation.intervals import IntervalConfig
    from mono_depth_ros.evaluation.saved_report import read_report

    if len(args.reports) < 2:
        raise ConfigError("compare needs two or more reports, the first is the reference")
    gates = parse_difference_gates(args.fail_if)
    intervals = replace(IntervalConfig(), **interval_settings(args))
    if args.out is not None:
        require_replaceable_comparison(args.out)
    names = report_names(args.reports)
    reports = dict(zip(names, map(read_report, args.reports), strict=True))
    comparison = compare_reports(reports, intervals)
    sys.stdout.write("\n".join(comparison_lines(comparison)) + "\n")
    if args.out is not None:
        sys.stdout.write(f"page: {write_comparison(comparison, args.out)}\n")
    failed = False
    for paired in comparison.paired:
        for warning in paired.warnings:
            sys.stderr.write(f"warning: {paired.name}: {warning}\n")
        differences = {score: found.value for score, found in paired.differences.items()}
        for line in difference_failures(gates, differences):
            sys.stderr.write(f"{paired.name}: {line}\n")
            failed = True
    return GATE_FAILED if failed else 0
