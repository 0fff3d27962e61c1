"""Draws docs/report.svg, the picture of the README, from the report of the demo, by `python docs/picture.py`."""

import re
from pathlib import Path

from rich.console import Console

from cxr.config.schema import Eval
from cxr.evaluation import predictions
from cxr.evaluation.report import score
from cxr.model import checkpoint as checkpoints
from cxr.report.evaluation import summary
from cxr.report.terminal import render

run = Path("runs/demo")
checkpoint = checkpoints.load(run)
evaluated = predictions.read(run / "eval_test" / "predictions.csv")
report = score(evaluated, checkpoint.thresholds, config=Eval(), temperatures=checkpoint.temperatures)
console = Console(record=True, width=96, file=open("/dev/null", "w"))
console.print("[bold]$ cxr eval runs/demo[/]")
console.print(render(*summary(report)))
svg = console.export_svg(title="cxr")
Path("docs/report.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S))
