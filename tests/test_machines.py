"""What differs between machines: the encoding of the system, and where the package is installed."""

import json
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatch

import pytest
from conftest import ROOT, tiny_flags

MODULES = [
    f"lite_sora.{name}"
    for name in (
        *("captioning", "captioning.score", "catalogs", "curation", "data.check", "diffusion.weighting"),
        *("evaluation.adherence", "evaluation.reconstruction", "experiments.compare", "published", "toy.alt_text"),
    )
]
SYSTEMS = {
    "Windows": {"PYTHONIOENCODING": "cp1252"},
    "POSIX": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
# Runs one command after another, each with the standard output that the system gave.
SEVERAL = """
import json, runpy, sys
given = [(stream, stream.encoding, stream.errors) for stream in (sys.stdout, sys.stderr)]
for command in json.loads(sys.stdin.buffer.read()):
    for stream, encoding, errors in given:
        stream.reconfigure(encoding=encoding, errors=errors)
    sys.argv = command
    run = runpy.run_path if command[0].endswith(".py") else runpy.run_module
    try:
        run(command[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


def test_all_commands_are_here():
    mains = [path for path in ROOT.glob("lite_sora/**/*.py") if "\n    main()\n" in path.read_text(encoding="utf-8")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__") for path in mains}
    assert names == set(MODULES)


@pytest.mark.parametrize("system", SYSTEMS)
def test_commands_print_and_write_utf8(toy, tmp_path, system):
    rows = [json.loads(line) for line in toy.read_text(encoding="utf-8").splitlines()]
    rows = [row | {"caption": "一个红色的圆 → 右", "video": str(toy.parent / row["video"])} for row in rows]
    rows.append({"id": "missing", "video": "影片.mp4", "caption": "一只猫", "split": "train"})
    manifest = tmp_path / "in.jsonl"
    manifest.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    train, generate, outside = str(ROOT / "train.py"), str(ROOT / "generate.py"), "--allow-outside"
    commands = [[name, "--help"] for name in (train, generate, *MODULES)]
    commands += [
        [train, *tiny_flags(manifest), outside, "--steps", "1", "--out", "run"],
        [generate, "a red circle", "--negative", "圆", "--run", "run", "--steps", "1", "--device", "cpu"],
        ["lite_sora.curation", "toy", "--manifest", "in.jsonl", "--out", "out.jsonl", "--workers", "0", outside],
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    environment |= SYSTEMS[system] | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        input=json.dumps(commands),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "'a red circle' → " in done.stdout  # generate.py's
    assert f"{len(rows):8} → " in done.stdout  # curation's
    assert "影片.mp4" in done.stdout and "影片.mp4" in (tmp_path / "run/skipped.txt").read_text(encoding="utf-8")
    assert "一个红色的圆" in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_an_installed_package_is_whole():
    """pip takes the folders with an __init__.py, and of other files those that pyproject.toml names."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    named = [f"{package.replace('.', '/')}/{pattern}" for package, patterns in data.items() for pattern in patterns]
    for path in ROOT.glob("lite_sora/**/*"):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and "__pycache__" not in name:
            here = (path.parent / "__init__.py").is_file() and path.suffix == ".py"
            assert here or any(fnmatch(name, pattern) for pattern in named), f"{name} would not be installed"
