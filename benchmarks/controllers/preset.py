"""Reads presets of training configurations."""

from agents import TrainConfig
from tidal.cli.parsing import config_of, new_parser


def training_of(path: str) -> TrainConfig:
    """The configuration in a YAML file, as ``tidal train --config`` reads it."""
    parser = new_parser("train", "")
    parser.add_options_of(TrainConfig)
    return config_of(parser, parser.parse_args(["--config", path]), TrainConfig)
