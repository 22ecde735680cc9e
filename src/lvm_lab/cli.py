"""The commands' entry: finds conf/, lets Hydra compose, and turns users' mistakes into one sentence; no torch."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.binding import unknown_key
from lvm_lab.errors import UserError

log = logging.getLogger(__name__)

MISTAKE, INTERRUPTED = 2, 130
# Hydra's grammar refuses a key that begins with a digit, so 5cat is spelt five_cat before it looks.
FIVE_CAT = re.compile(r"^(\+{0,2}|~)5cat(?=$|[=.@])")
# Hydra's flags whose value is the next argument.
VALUE_FLAGS = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")


def conf_dir() -> Path:
    """conf/ inside the installed package, or at the root of the checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Arguments with 5cat written as Hydra can read it."""
    return [FIVE_CAT.sub(r"\1five_cat", argument) for argument in arguments]


def gather(arguments: Sequence[str], key: str) -> list[str]:
    """Arguments with those that are paths gathered, in their order, into one setting of `key`.

    A path is what has no `=`, or a slash or a wildcard before it: `./epoch=04.ckpt` is one, `epoch=04.ckpt` is a
    setting, and so is `hydra/launcher=joblib`.
    """
    flags: list[str] = []
    settings: list[str] = []
    paths: list[str] = []
    takes_value = False
    for argument in arguments:
        before, equals, _ = argument.partition("=")
        without_slash = not re.search(r"[/*?\\]", before) or before.startswith("hydra/")
        if takes_value or argument.startswith("-"):
            flags.append(argument)
        elif without_slash and (equals or before.startswith("~")):
            settings.append(argument)
        else:
            paths.append(argument)
        takes_value = not takes_value and argument in VALUE_FLAGS
    if paths:
        settings.append(f"{key}=[{','.join(map(_quoted, paths))}]")
    # Hydra reads settings in one stretch only, and a user may put flags between paths.
    return [*flags, *settings]


def _quoted(text: str) -> str:
    """A text as Hydra's grammar takes it whole: a backslash counts only before a quotation mark."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def launch(
    config_name: str,
    job: Callable[[dict[str, Any], Path | None], None],
    *,
    paths: str | None = None,
    interrupted: str = "the same command goes on from the last checkpoint",
) -> None:
    """Compose `config_name` from the command line and call `job(config, sweep_dir)`.

    config is resolved and in plain containers; sweep_dir is a multirun's folder, else None. paths: the key that
    takes the arguments which are paths and no settings. interrupted: what is said after Ctrl-C.
    Exit codes: 0 done, 2 a user's mistake, 1 a failed job of a multirun or our own bug, 130 interrupted.
    """
    # Lightning brings matplotlib in, whose first words are about its fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.argv[1:] = spell_out(sys.argv[1:])
    if paths is not None:
        sys.argv[1:] = gather(sys.argv[1:], paths)
    # Hydra then raises instead of printing and leaving with 1; what is raised is told below.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    composed_once = False

    def task(composed: DictConfig) -> None:
        nonlocal composed_once
        composed_once = True
        # Hydra's logging would print which of its libraries faiss loads.
        logging.getLogger("faiss").setLevel(logging.WARNING)
        run = HydraConfig.get()
        try:
            config: dict[str, Any] = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
            job(config, Path(run.sweep.dir) if run.mode == RunMode.MULTIRUN else None)
        except (UserError, OmegaConfBaseException, OSError) as error:
            if run.mode == RunMode.MULTIRUN:
                raise
            # Leaving here keeps Hydra from announcing an error in a job that never ran.
            _leave(explain(error, config_name, sys.argv[1:]))

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(task)()
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (HydraException, OmegaConfBaseException) as error:
        _leave(explain(error, config_name, sys.argv[1:]))
    except (UserError, OSError) as error:
        _leave(explain(error, config_name, sys.argv[1:]), 1)
    except ValueError as error:
        if composed_once:
            raise
        # Hydra's own words for a group that is set to null or to a number.
        _leave(explain(error, config_name, sys.argv[1:]))


def explain(error: Exception, config_name: str, arguments: Sequence[str]) -> str:
    """One sentence for what we, Hydra, OmegaConf or the machine refused, with the right options or keys."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; mend that and give the same command again."
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        typed = group.replace("five_cat", "5cat")
        return f"{typed}={option} does not exist; choose one of {', '.join(sorted(error.options))}."
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is no setting; write group=option or key=value, for instance arch=gru."
    if isinstance(error, ConfigCompositionException):
        refused = re.search(r"Could not (?:override|append to) '([^']+)'", str(error))
        if refused:
            return _unknown(refused.group(1), config_name, arguments)
    ambiguous = re.match(r"Ambiguous value for argument '([^']+)'", str(error))
    if ambiguous:
        return f"{ambiguous.group(1)} names several values; put -m before the settings to run them all."
    first = str(error).strip().splitlines()[0]
    return f"{first.rstrip('.')}; see --help for the options."


def _unknown(key: str, config_name: str, arguments: Sequence[str]) -> str:
    """A sentence for an unknown key, from the config as it composes without the settings of single keys."""
    groups = [item.name for item in conf_dir().iterdir() if item.is_dir() and item.name != "local"]
    options = [a for a in arguments if a.partition("=")[0] in groups and "," not in a]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            node: Any = hydra.compose(config_name, overrides=options)
        except ConfigCompositionException:
            # A group of another command.
            node = hydra.compose(config_name)
    known = ""
    for name in key.split("."):
        if not OmegaConf.is_dict(node) or name not in node:
            break
        node, known = node[name], f"{known}.{name}".lstrip(".")
    wrong = key[len(known) :].lstrip(".").split(".")[0]
    if not wrong:
        group = key.partition(".")[0]
        return f"{key} cannot be set, because another setting takes {group} away; leave one of them out."
    keys = [str(k) for k in node if k not in ("_target_", "name", "hydra")] if OmegaConf.is_dict(node) else []
    sentence = unknown_key(f"{known}.{wrong}".lstrip("."), keys)
    return sentence.replace("five_cat", "5cat")


def _leave(sentence: str, code: int = MISTAKE) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)
