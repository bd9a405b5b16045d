"""The house stays as it was planned: imports run one way, and the spine is read in an evening."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

# From the ground up: a room imports from itself and from those before it.
ROOMS = (
    *("errors", "commands", "seeds", "workers", "processes", "storage", "layers", "diffusion", "data", "toy"),
    *("catalogs", "text", "compute"),
    *(
        "autoencoders",
        "denoisers",
        "curation",
        "captioning",
        "configuration",
        "pipeline",
        "continuation",
        "prior",
        "published",
        "load",
    ),
    *("evaluation", "training", "experiments", "train", "generate"),
)
MOST_FILES, MOST_LINES = 16, 1500


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in [*ROOT.glob("lite_sora/**/*.py"), ROOT / "train.py", ROOT / "generate.py"]}


def imports_of(module: str) -> set[str]:
    """The modules of this project that a module imports, anywhere in its file."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in FILES else node.module for name in full}
    return (found & FILES.keys()) - {module, "lite_sora"}


def room_of(module: str) -> str:
    return module.removeprefix("lite_sora.").split(".")[0]


def reading_order() -> dict[str, int]:
    """The files of the README's table "Reading order", and the lines that it says they have."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Reading order")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \d+ \| `([\w/]+\.py)` \| (\d+) \|", table, re.MULTILINE)
    return {name: int(lines) for name, lines in rows}


def test_no_file_imports_in_a_circle():
    TopologicalSorter({module: imports_of(module) for module in FILES}).prepare()  # raises CycleError, with the circle


def test_no_arrow_runs_up():
    rooms = {room_of(module) for module in FILES} - {"lite_sora"}
    assert rooms == set(ROOMS)
    up = [
        f"{module} imports {other}"
        for module in FILES
        for other in imports_of(module)
        if module != "lite_sora" and ROOMS.index(room_of(other)) > ROOMS.index(room_of(module))
    ]
    assert not up


def test_every_text_file_is_utf8():
    """Ruff's PLW1514 sees only what it knows to be a Path; this sees every read_text, write_text and open."""
    others = {"av", "Image", "tarfile"}  # their open takes no text
    calls = ((file, node) for file in FILES.values() for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    bare = []
    for file, call in calls:
        if not isinstance(call, ast.Call):
            continue
        whose, name = ast.unparse(call.func).split(".")[0], ast.unparse(call.func).split(".")[-1]
        binary = any(isinstance(word, ast.Constant) and "b" in str(word.value) for word in call.args[:2])
        named = "encoding" in {word.arg for word in call.keywords}
        if name in ("open", "read_text", "write_text") and whose not in others and not binary and not named:
            bare.append(f"{file.relative_to(ROOT)}:{call.lineno}")
    assert not bare


def test_the_spine_is_read_in_an_evening():
    spine = reading_order()
    assert 10 <= len(spine) <= MOST_FILES
    lines = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in spine}
    assert spine == lines  # the table says how long each file is
    assert sum(lines.values()) <= MOST_LINES


def test_what_the_default_run_executes_is_in_the_spine_or_in_a_box(tmp_path):
    command = [sys.executable, str(ROOT / "tests/benchmarks/trace_default_run.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_readme_is_read_in_ten_minutes():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *ROOT.glob("tutorials/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_drawings_are_made_by_code(tmp_path):
    subprocess.run([sys.executable, ROOT / "tutorials/drawing.py", "--out", tmp_path], check=True)
    for name, least in (("pipeline", 50_000), ("block", 20_000), ("adaln", 10_000)):
        assert (tmp_path / f"{name}.png").stat().st_size > least
        assert (ROOT / f"data/samples/{name}.png").exists()


def test_the_drawing_of_a_block_has_the_names_of_the_code():
    sys.path.insert(0, str(ROOT / "tutorials"))
    from drawing import COLUMN

    from lite_sora.denoisers.dit import DenoiserConfig, DiTBlock

    parts = {name for name, _ in DiTBlock(DenoiserConfig()).named_children()}
    drawn = [what for what, _, _ in COLUMN]
    assert parts - {"modulation"} == set(drawn) & parts and drawn.index("attention") < drawn.index("mlp")


def test_what_the_readmes_commands_write_is_nothing_to_git(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    written = set(re.findall(r"--out[ \n]([\w/.-]+)", readme)) | {
        "runs/toy",
        "out/a.mp4",
        "data/toy/videos",
        "data/my/a.mp4",
    }
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    command = ["git", "check-ignore", *written, "data/samples/toy.gif"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert set(done.stdout.splitlines()) == written  # all but the pictures that README shows


def test_importing_the_package_is_light():
    code = (
        "import sys, lite_sora; print(sorted({'torch', 'transformers', 'diffusers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
