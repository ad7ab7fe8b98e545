"""The configuration: one YAML file, one schema, every problem with its line."""

from keyturn.config.load import load_config
from keyturn.config.model import Config, CredentialConfig, PluginConfig, PushConfig, TargetConfig
from keyturn.config.problems import ConfigProblems, Problem
from keyturn.config.references import resolver
from keyturn.config.schema import DEFAULT_LISTEN, json_schema

__all__ = [
    "DEFAULT_LISTEN",
    "Config",
    "ConfigProblems",
    "CredentialConfig",
    "PluginConfig",
    "Problem",
    "PushConfig",
    "TargetConfig",
    "json_schema",
    "load_config",
    "resolver",
]
