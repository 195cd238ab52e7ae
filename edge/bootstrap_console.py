"""What edge/bootstrap.py shows, and the programs it follows; standard library only, any Python 3."""

import ctypes
import shutil
import signal
import subprocess
import sys
import time


class Bar:
    """A progress bar on a terminal; elsewhere a line when it begins and one when it ends."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.count = 0
        self.live = sys.stdout.isatty()
        self.shown = 0.0
        if not self.live:
            say(title + " ...")

    def advance(self, label: str) -> None:
        """One more of the total."""
        self.count += 1
        self._draw(self.count, self.total, "{}/{} {}".format(self.count, self.total, label))

    def to(self, done: int, total: int, label: str) -> None:
        """So many bytes of so many."""
        self._draw(done, total, "{} {:.0f}/{:.0f} MB".format(label, done / 1e6, total / 1e6))

    def end(self, word: str) -> None:
        """Finish the line."""
        say(("\r\x1b[K" if self.live else "") + "{}: {}".format(self.title, word))

    def _draw(self, done: int, total: int, label: str) -> None:
        if not self.live or (time.time() - self.shown < 0.1 and done < total):
            return
        self.shown = time.time()
        full = min(24, 24 * done // max(1, total))
        room = max(10, shutil.get_terminal_size().columns - len(self.title) - 32)
        line = "\r\x1b[K{} [{}{}] {}".format(self.title, "#" * full, "-" * (24 - full), label[:room])
        sys.stdout.write(line)
        sys.stdout.flush()


def follow(command: list, environment: dict):  # noqa: ANN201  a generator, for every Python 3
    """The lines that a program prints; the last one is `exit CODE`. It ends with us."""
    program = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        preexec_fn=_end_with_parent,  # noqa: PLW1509  no threads here
    )
    try:
        for line in program.stdout or ():
            yield line.decode("utf-8", "replace").strip()
        yield "exit {}".format(program.wait())
    finally:
        if program.poll() is None:
            program.terminate()
            program.wait()
        if program.stdout:
            program.stdout.close()


def _end_with_parent() -> None:
    """A killed set-up must not leave a pip that writes on."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)
