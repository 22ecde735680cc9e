"""What reading a YAML file takes everywhere: the fast loader, and the sentence for what is none."""

from __future__ import annotations

from pathlib import Path

import yaml

# Twenty times faster where PyYAML was built with libyaml; a sweep has hundreds of files.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def no_yaml(file: Path | str, error: yaml.YAMLError) -> str:
    """One sentence for a file that is no YAML: where, and why."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}," if mark else ""
    problem = getattr(error, "problem", None) or "it ends too early"
    return f"{file}{line} is no YAML ({problem}); mend it there."
