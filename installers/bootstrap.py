"""Makes the environment (.venv beside main.py) from locked versions; standard library only, old Pythons included.

Each finished part is noted in .venv/burnish-setup.json, so an interrupted setup goes on where it was, and a start with
everything in place reads that one file and nothing else.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "burnish-setup.json"
LOCKS = ROOT / "installers" / "lock"
OLDEST = (3, 11)


class SetupError(Exception):
    """The setup cannot go on; one sentence for the user."""


def ensure(arguments):
    """Return None when this process runs in a complete environment; otherwise make it and hand over to its Python.

    Returns an exit status when the setup failed, or the status of the program after a hand-over.
    """
    if sys.version_info < OLDEST:
        found = "{}.{}".format(*sys.version_info[:2])
        text = "Burnish needs Python 3.11 or newer; this is {}. Start it with a newer one."
        print(text.format(found), file=sys.stderr)
        return 2
    try:
        parts = wanted_parts(arguments)
        done = read_stamp()
        missing = [part for part in parts if done.get(part) != lock_hash(part)]
        if missing:
            set_up(missing, parts)
    except (SetupError, OSError) as error:
        print("\nSetup stopped: {}".format(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nSetup was interrupted. Start the same command again to go on; what is done is kept.", file=sys.stderr)
        return 130
    if in_environment():
        return None
    return hand_over(arguments)


def wanted_parts(arguments):
    """Parts of the environment that a command needs: the tests and checks need one more."""
    needs_dev = bool(arguments) and arguments[0] in ("test", "check", "bench")
    return ["environment", "torch", "burnish"] + (["dev"] if needs_dev else [])


def read_stamp():
    """{part: lock hash} of the finished parts; none where the environment's Python is gone (moved, or updated away)."""
    try:
        done = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return done if isinstance(done, dict) and environment_python().exists() else {}


def lock_hash(part):
    """A hash that changes when a part has to be made again."""
    if part == "environment":
        return "1"
    return hashlib.sha256((LOCKS / (part + ".txt")).read_bytes()).hexdigest()[:16]


def in_environment():
    """Whether this process runs in the environment."""
    return Path(sys.prefix).resolve() == VENV.resolve()


def environment_python():
    """The environment's Python."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def hand_over(arguments):
    """Go on in the environment's Python: in the same process where the system can."""
    command = [str(environment_python()), str(ROOT / "main.py"), *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
    return None


def set_up(missing, parts):
    """Make the missing parts one after the other."""
    say("Setting up Burnish in {} (this happens once; it can be interrupted and goes on later).".format(VENV))
    steps = {"environment": make_environment, "torch": install_torch}
    for part in missing:
        number = "[{}/{}]".format(parts.index(part) + 1, len(parts))
        began = time.time()
        steps.get(part, install_lock)(part, number)
        note_done(part)
        say("{} {}: done in {:.0f} s".format(number, TITLES[part], time.time() - began))
    say("Setup is complete.\n")


TITLES = {
    "environment": "isolated environment",
    "torch": "torch",
    "burnish": "libraries",
    "dev": "test tools",
}


def say(text):
    """One line for the user. Goes to stderr: stdout belongs to the command (--json)."""
    print(text, file=sys.stderr, flush=True)


def note_done(part):
    """Keep that a part is finished; all or nothing."""
    done = read_stamp()
    done[part] = lock_hash(part)
    temporary = STAMP.with_suffix(".part")
    temporary.write_text(json.dumps(done, indent=1), encoding="utf-8")
    os.replace(str(temporary), str(STAMP))


def make_environment(part, number):
    """Create .venv with pip in it."""
    say("{} {}: creating {}".format(number, TITLES[part], VENV))
    need_space(2.0)
    if VENV.exists() and not environment_python().exists():
        shutil.rmtree(str(VENV))
    command = [sys.executable, "-m", "venv", str(VENV)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        hint = "On Debian and Ubuntu install the package python3-venv first." if sys.platform == "linux" else ""
        last = last_line(result.stdout)
        raise SetupError("the environment {} could not be made ({}). {}".format(VENV, last, hint))


def need_space(gigabytes):
    """SetupError when the disk has not enough room."""
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < gigabytes:
        text = "{} has {:.1f} GB free, and the setup needs about {:.0f} GB. Free some space and start again."
        raise SetupError(text.format(ROOT, free, gigabytes))


def install_lock(part, number):
    """Install a lock file exactly as it stands; pip skips what is there already."""
    lock = LOCKS / (part + ".txt")
    total = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    pip(["install", "--no-deps", "-r", str(lock)], "{} {}".format(number, TITLES[part]), total)


def install_torch(part, number):
    """Install the build of torch that fits the machine: CUDA with an NVIDIA driver, otherwise CPU."""
    requirement = torch_requirement()
    gpu = has_nvidia_driver()
    kind = "CUDA build, for the NVIDIA GPU" if gpu else "CPU build, no NVIDIA driver found"
    title = "{} torch ({})".format(number, kind)
    say(title)
    need_space(12.0 if gpu else 3.0)
    if uses_package_index(requirement, gpu):
        pip(["install", requirement], title, 0)
        return
    backend = "auto" if gpu else "cpu"
    say("{}: the usual index has the other build; asking uv for the right one".format(title))
    pip(["install", uv_requirement()], title, 1)
    command = [str(environment_python()), "-m", "uv", "pip", "install", "--python", str(environment_python())]
    code = subprocess.call([*command, "--torch-backend", backend, requirement], stdout=sys.stderr)
    if code:
        say("{}: the {} index does not answer; taking the build of the usual index instead".format(title, backend))
        pip(["install", requirement], title, 0)


def torch_requirement():
    """The locked version of torch."""
    lines = (LOCKS / "torch.txt").read_text(encoding="utf-8").splitlines()
    return next(line.strip() for line in lines if line.startswith("torch=="))


def uv_requirement():
    """The locked version of uv."""
    lines = (LOCKS / "torch.txt").read_text(encoding="utf-8").splitlines()
    return next(line.lstrip("# ").strip() for line in lines if line.lstrip("# ").startswith("uv=="))


def has_nvidia_driver():
    """Whether the machine has an NVIDIA driver (its library or tool; no import of anything)."""
    if os.environ.get("BURNISH_TORCH") in ("cpu", "cuda"):
        return os.environ["BURNISH_TORCH"] == "cuda"
    if os.name == "nt":
        return os.path.exists(os.path.join(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32", "nvml.dll"))
    return os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi") is not None


def uses_package_index(requirement, gpu):
    """Whether the build that pip would take from its configured index is the wanted one.

    On Linux the public index has the CUDA build, on Windows and macOS the CPU one; a local folder may hold either.
    """
    if sys.platform == "darwin":
        return True
    command = [str(environment_python()), "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed"]
    command += ["--quiet", "--disable-pip-version-check", "--report", "-", requirement]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    try:
        item = json.loads(result.stdout)["install"][0]
        version = item["metadata"]["version"]
        needs_cuda = any(name.startswith("nvidia") for name in item["metadata"].get("requires_dist", []))
        is_cuda = "+cu" in version or ("+cpu" not in version and needs_cuda)
    except (ValueError, KeyError, IndexError):
        is_cuda = sys.platform == "linux"
    return is_cuda == gpu


def pip(arguments, title, total):
    """Run the environment's pip, showing how many packages are there; SetupError with its last words if it fails."""
    command = [str(environment_python()), "-m", "pip", *arguments]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--no-warn-script-location"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    seen = 0
    try:
        for line in child.stdout:
            line = line.strip()
            lines.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                seen += 1
            show_pip_line(title, line, seen, total)
        code = child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    end_line()
    if code:
        raise SetupError(explain_pip(lines))


def show_pip_line(title, line, seen, total):
    """Progress that a person can read; one line that is rewritten on a terminal, few lines elsewhere."""
    count = " {}/{}".format(min(seen, total), total) if total else ""
    if line.startswith("Downloading "):
        text = "{}{}: downloading {}".format(title, count, line[len("Downloading ") :].split("/")[-1])
    elif line.startswith("Installing collected packages"):
        text = "{}: unpacking".format(title)
    elif line.startswith("Collecting "):
        text = "{}{}: {}".format(title, count, line[len("Collecting ") :].split(" ")[0])
    else:
        return
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + text[:width].ljust(width), end="", file=sys.stderr, flush=True)
    elif not line.startswith("Collecting ") or seen % 20 == 0:
        say(text)


def end_line():
    """End a line that was being rewritten."""
    if sys.stderr.isatty():
        print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", end="", file=sys.stderr, flush=True)


NETWORK_WORDS = (
    "NewConnectionError",
    "ConnectionError",
    "Read timed out",
    "Temporary failure",
    "No matching distribution",
)


def explain_pip(lines):
    """One sentence for a pip that failed."""
    text = "\n".join(lines)
    if "No space left" in text:
        return "the disk is full. Free some space and start the same command again; what is done is kept."
    if any(word in text for word in NETWORK_WORDS):
        last = last_line("\n".join(line for line in lines if line.startswith("ERROR")) or text)
        advice = "Check the connection and start the same command again; what is done is kept."
        return "a download failed ({}). {}".format(last, advice)
    return "pip failed ({}). Start the same command again, or remove {} to begin anew.".format(last_line(text), VENV)


def last_line(text):
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")[:300]
