"""One door to every check: nox -s lint, tests, slow, optuna, vec2text, lowest, bench, parity, honest, fuzz."""

import os
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "tests"]

# Tiny models run 2 to 40 times faster on one thread on a busy machine. Hundreds of processes are started, which would
# each compile all modules where a machine has Python write no bytecode; empty is unset.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "PYTHONDONTWRITEBYTECODE": ""}
# Each with whole files, so that what a file trains once is trained once; tests/conftest.py has the longest first.
TWO_PROCESSES = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


def install(session: nox.Session, extra: str) -> None:
    # Pip would compile 18,000 files, which takes most of a minute; what is imported is compiled then, and kept.
    session.install("--no-compile", "-c", "constraints.txt", "-e", f".[{extra}]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, the layers of the rooms, types."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything but the slow ones, meant for under 8 minutes on 2 idle cores."""
    install(session, "test")
    session.run("pytest", *TWO_PROCESSES, *session.posargs, env=ONE_THREAD)


@nox.session
def slow(session: nox.Session) -> None:
    """What takes longer: every arch under every loss, sweeps, kills at random, devices, memory, the wheel."""
    install(session, "test")
    session.run("pytest", "-m", "slow", *TWO_PROCESSES, *session.posargs, env=ONE_THREAD)


@nox.session
def optuna(session: nox.Session) -> None:
    """Sweeps by the real Optuna sweeper, which the other sessions do without: every command would import it."""
    session.install("-c", "constraints.txt", "-e", ".[test,optuna]")
    session.run(
        "pytest", "-m", "slow or not slow", *(session.posargs or ["tests/sweeps/test_optuna.py"]), env=ONE_THREAD
    )


@nox.session
def vec2text(session: nox.Session) -> None:
    """The encoder that vec2text expects and the decoder that runs it: the library needs transformers 4."""
    constraints = ("-c", "constraints-vec2text.txt")
    session.install(*constraints, "-e", ".[vec2text]", "pytest", "pytest-xdist", "hypothesis", "pytest-httpserver")
    tests = ("tests/text/encoders/test_local.py", "tests/text/decoders/test_vec2text.py", "-k", "gtr or vec2text")
    session.run("pytest", "-m", "slow or not slow", *(session.posargs or tests), env=ONE_THREAD)


@nox.session
def lowest(session: nox.Session) -> None:
    """A handful of tests with the lowest version that pyproject declares of everything but torch."""
    file = Path(session.create_tmp()) / "torch.txt"
    # Its wheels bring gigabytes of CUDA: the one that the other sessions have.
    lines = Path("constraints.txt").read_text().splitlines()
    file.write_text("\n".join(line for line in lines if line.startswith("torch==")) + "\n")
    # Pip knows no lowest versions, and looks for many minutes for what goes with floors that are given to it.
    session.install("uv")
    session.run("uv", "pip", "install", "--resolution", "lowest-direct", "-c", str(file), "-e", ".[test]")
    tests = ("tests/data/test_store.py", "tests/config/test_binding.py", "tests/training/test_out_of_memory.py")
    session.run("pytest", *(session.posargs or tests), env=ONE_THREAD)


@nox.session
def bench(session: nox.Session) -> None:
    """The figures that README and docs/benchmarks.md state, measured side by side in one run."""
    install(session, "test")
    session.run("python", "benchmarks/training_loop.py")
    session.run("python", "benchmarks/five_cat_cost.py")
    session.run("python", "benchmarks/memory.py")
    session.run("python", "benchmarks/startup.py")
    session.run("python", "benchmarks/mamba2_speed.py")
    session.run("python", "benchmarks/launchers.py")


@nox.session
def parity(session: nox.Session) -> None:
    """Writes the parity table of docs/architectures.md."""
    install(session, "test")
    session.run("python", "benchmarks/parity_table.py", env=ONE_THREAD)


@nox.session
def honest(session: nox.Session) -> None:
    """Trains one model and writes the two tables of docs/5cat.md."""
    install(session, "test")
    session.run("python", "benchmarks/honest_gates.py", env=ONE_THREAD)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten minutes of damaged files and odd settings, with seeds of their own: docs/reliability.md."""
    install(session, "test")
    minutes = {"LVM_LAB_FUZZ_MINUTES": os.environ.get("LVM_LAB_FUZZ_MINUTES", "10")}
    hunt = ("pytest", "tests/commands/test_fuzz.py", "-m", "slow", "-k", "hunt", "-s", *session.posargs)
    session.run(*hunt, env=ONE_THREAD | minutes)
