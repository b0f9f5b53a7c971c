from io import StringIO
from types import SimpleNamespace

from rich.console import Console

from agents.evaluation.intervals import Interval
from agents.evaluation.text_measures import MEASURES, Measure, TextMeasures
from tidal.cli.measures_table import measures_table


def evaluation(agent: str, distance: float) -> SimpleNamespace:
    measure = Measure(
        Interval(0.5, 0.4, 0.6), 0.5 - distance, Interval(distance, max(0.0, distance - 0.1), distance + 0.1), ()
    )
    return SimpleNamespace(agent=agent, measures=TextMeasures(64, **dict.fromkeys(MEASURES, measure)))


def test_every_measure_of_every_agent() -> None:
    console = Console(width=120, record=True, file=StringIO())
    console.print(measures_table([evaluation("neutral", 0.25), evaluation("cold", 0.05)]))
    lines = [line.split() for line in console.export_text().splitlines()]
    for name in MEASURES:
        assert [name, *["0.500,", "0.250", "[0.150,", "0.350]", "0.500,", "0.050", "[0.000,", "0.150]"]] in lines
